"""The classifier that the pipeline talks to; the network behind it is loaded when first needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framehook import Column, Detections, Frame, OptionError, did_you_mean
from framehook_plugins.agegender.crop import cut
from framehook_plugins.agegender.quality import view_quality
from framehook_plugins.device import Device, resolve_device

if TYPE_CHECKING:
    from framehook_plugins.agegender.inference import Estimates, Estimator

BUNDLED = Path(__file__).parent / "weights"
DEFAULT = "resnet18-utkface-fairface"
GENDERS = ("female", "male")


class AgeGenderClassifier:
    """Estimate how old a face looks, and whether it looks female or male.

    Each detection gets `age` and `age_std` in years (mean and standard deviation of the network's age distribution), `gender`
    (`female` or `male`), `gender_score` (its probability, 0.5 to 1), and `quality` (the weight of this view in its track).

    The bundled weights were trained on data for non-commercial research; their model card says what they can and cannot do.

    Args:
        weights: name of bundled weights, or the path of a file that framehook's trainers made.
        device: where the network runs.
        precision: `auto` is bfloat16 where the device computes in it, else float32.
        flip: average over the face and its mirror image: twice the work, a little more accurate and steady.
        batch: faces that go through the network at once; bounds memory.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="age", aggregate="mean"),
        Column(name="age_std", aggregate="std", of="age"),
        Column(name="gender", aggregate="vote", of="gender_score", categories=GENDERS),
        Column(name="gender_score", aggregate="probability", of="gender"),
    )

    def __init__(
        self,
        *,
        weights: str = "default",
        device: Device = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        flip: bool = True,
        batch: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        self._path = find_weights(weights)
        self._device = device
        self._precision: Literal["auto", "float32", "bfloat16"] = precision
        self._flip = flip
        self._batch = batch
        if device == "cuda":
            resolve_device(device)  # an absent device is told before any frame is decoded

    def classify(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> Sequence[Detections]:
        """Return the same detections with ages, genders and the quality of each view."""
        header = self._estimator.header
        crops = [
            cut(frame.image, found.boxes, margin=header.crop_margin, shift=header.crop_shift, size=header.input_size)
            for frame, found in zip(frames, detections, strict=True)
            if len(found)
        ]
        estimates = self._estimator.estimate(np.concatenate(crops)) if crops else None
        results, start = [], 0
        for frame, found in zip(frames, detections, strict=True):
            rows = slice(start, start + len(found))
            results.append(self._with_estimates(frame, found, estimates, rows))
            start = rows.stop
        return results

    def _with_estimates(self, frame: Frame, found: Detections, estimates: "Estimates | None", rows: slice) -> Detections:
        if estimates is None or not len(found):
            nothing = np.empty(0, np.float32)
            return found.with_attributes(
                age=nothing, age_std=nothing, gender=_words(nothing), gender_score=nothing, quality=nothing
            )
        female = estimates.female[rows]
        quality = view_quality(
            found,
            width=frame.width,
            height=frame.height,
            margin=self._estimator.header.crop_margin,
            shift=self._estimator.header.crop_shift,
            input_size=self._estimator.header.input_size,
        )
        return found.with_attributes(
            age=estimates.age[rows],
            age_std=estimates.age_std[rows],
            gender=_words(female),
            gender_score=np.maximum(female, 1 - female),
            quality=quality,
        )

    @cached_property
    def _estimator(self) -> "Estimator":
        from framehook_plugins.agegender.inference import Estimator  # brings torch

        return Estimator(
            self._path, device=resolve_device(self._device), precision=self._precision, flip=self._flip, batch=self._batch
        )


def find_weights(name: str) -> Path:
    """Return the file of bundled weights, or of a path.

    Raises:
        OptionError: neither; names the bundled ones.
    """
    bundled = {path.stem: path for path in sorted(BUNDLED.glob("*.safetensors"))}
    if name == "default":
        name = DEFAULT
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if path.is_file():
        return path
    raise OptionError(
        f"weights '{name}' are neither a file nor bundled; bundled: default, {', '.join(bundled)}{did_you_mean(name, bundled)}"
    )


def _words(female: NDArray[np.float32]) -> NDArray[np.str_]:
    """Return the likelier word for each probability of female, (n,) of `<U6`."""
    return np.where(female >= 0.5, *GENDERS).astype("<U6")
