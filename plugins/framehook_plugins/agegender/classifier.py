"""The classifier that the pipeline talks to; the network behind it is loaded when first needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framehook import NO_TRACK, Column, Detections, Frame, OptionError, check_options, did_you_mean, expand_home
from framehook_plugins.agegender.crop import Squares, cut, landmarks_of, moved, squares
from framehook_plugins.agegender.quality import view_quality
from framehook_plugins.backends import Backend, Precision, check_backend
from framehook_plugins.device import Device, resolve_device
from framehook_plugins.loading import loaded_once

if TYPE_CHECKING:
    from framehook_plugins.agegender.inference import Estimator

BUNDLED = Path(__file__).parent / "weights"
DEFAULT = "agegender-research"
GENDERS = ("female", "male")
_APART = 0.04  # of the crop's side: how much lower and higher the two views of a face are cut; docs/models.md has what it gains


class AgeGenderClassifier:
    """Estimate how old a face looks, and whether it looks female or male.

    Each detection gets `age` and `age_std` in years (mean and standard deviation of what the network holds possible), `gender`
    (`female` or `male`), `gender_score` (its probability, 0.5 to 1), and `quality` (the weight of this view in its track).

    The default weights, `agegender-research`, were trained on data for non-commercial research, and carry that term. A model card
    beside each bundled file says what it can and cannot do.

    Several threads may share a classifier; on OpenVINO they take turns.

    Args:
        weights: name of bundled weights, or the path of a file that framehook's trainers made.
        device: where the network runs.
        backend: what it runs on; `openvino` and `onnxruntime` are extras for the CPU.
        precision: `auto` is bfloat16 where the device computes in it, else float32; ONNX Runtime has only float32.
        flip: average over two views of the face, one cut a little lower and the mirror image of one cut a little higher: twice
            the work, a little more accurate and steady. `auto` does so for a face without a track; of one with a track there
            are several views anyway.
        batch: views that go through the network at once; bounds memory.
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
        weights: str | Path = "default",
        device: Device = "auto",
        backend: Backend = "auto",
        precision: Precision = "auto",
        flip: bool | Literal["auto"] = "auto",
        batch: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        given = {"weights": weights, "device": device, "backend": backend, "precision": precision, "flip": flip, "batch": batch}
        check_options("plugin 'age-gender'", AgeGenderClassifier, given)
        self._path = find_weights(str(weights))
        self._device = device
        self._backend: Backend = backend
        self._precision: Precision = precision
        self._flip: bool | Literal["auto"] = flip
        self._batch = batch
        check_backend(backend, device)
        if (backend, precision) == ("onnxruntime", "bfloat16"):
            raise OptionError("backend 'onnxruntime' has only float32, got precision 'bfloat16': use another, or 'auto'")
        if device == "cuda":
            resolve_device(device)  # an absent device is told before any frame is decoded

    def classify(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> Sequence[Detections]:
        """Return the same detections with ages, genders and the quality of each view."""
        where = [self._squares(found) for found in detections]
        twice = [self._twice(found) for found in detections]
        views = [
            self._cut(frame, squares, some) for frame, squares, some in zip(frames, where, twice, strict=True) if len(squares)
        ]
        if not views:
            return [_without_faces(found) for found in detections]
        crops, again = map(np.concatenate, zip(*views, strict=True))
        estimates = self._estimator.estimate(crops, again=again, twice=np.concatenate(twice))
        size = self._estimator.header.input_size
        results, start = [], 0
        for frame, found, some in zip(frames, detections, where, strict=True):
            female = estimates.female[start : start + len(found)]
            results.append(
                found.with_attributes(
                    age=estimates.age[start : start + len(found)],
                    age_std=estimates.age_std[start : start + len(found)],
                    gender=_words(female),
                    gender_score=np.maximum(female, 1 - female),
                    quality=view_quality(found, some, width=frame.width, height=frame.height, input_size=size),
                )
            )
            start += len(found)
        return results

    def _twice(self, found: Detections) -> NDArray[np.bool_]:
        """Return which faces are seen in two views."""
        return found.tracks == NO_TRACK if self._flip == "auto" else np.full(len(found), self._flip)

    def _cut(self, frame: Frame, where: Squares, twice: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a view of each of n faces, and another one of each that is seen twice, (k, size, size, 3)."""
        header = self._estimator.header
        first = np.where(twice[:, None], moved(where, down=_APART), where)
        second = moved(where[twice], down=-_APART)
        crops, again = (cut(frame.image, some, header.input_size, border=header.crop_border) for some in (first, second))
        return crops, again[:, :, ::-1]

    def _squares(self, found: Detections) -> Squares:
        """Return what to cut: as in training."""
        header = self._estimator.header
        return squares(found.boxes, landmarks_of(found), margin=header.crop_margin, shift=header.crop_shift)

    @loaded_once
    def _estimator(self) -> "Estimator":
        from framehook_plugins.agegender.inference import Estimator  # brings torch

        return Estimator(
            self._path,
            device=self._device,
            backend=self._backend,
            precision=self._precision,
            batch=self._batch,
        )


def find_weights(name: str) -> Path:
    """Return the file of bundled weights, or of a path.

    Raises:
        OptionError: neither, which names the bundled ones, or a file of another kind, such as a run's `checkpoint.pt`.
    """
    bundled = {path.stem: path for path in sorted(BUNDLED.glob("*.safetensors"))}
    if name == "default":
        name = DEFAULT
    if name in bundled:
        return bundled[name]
    path = expand_home(name)
    if path.is_file():
        _check_kind(path)
        return path
    raise OptionError(
        f"weights '{name}' are neither a file nor bundled; bundled: default, {', '.join(bundled)}{did_you_mean(name, bundled)}"
    )


def _check_kind(path: Path) -> None:
    """Look at a file's beginning, without torch: in safetensors, the length of a header in JSON, 8 bytes, and the header."""
    try:
        with path.open("rb") as file:
            beginning = file.read(9)
    except OSError as error:
        raise OptionError(f"weights '{path}' cannot be read: {error.strerror}") from error
    if beginning[8:] != b"{":
        beside = path.with_name("model.safetensors")
        there = f"; did you mean '{beside}'?" if beside.is_file() and beside != path else ""
        raise OptionError(f"weights '{path}' are no safetensors file, want what a training run calls {beside.name}{there}")


def _without_faces(found: Detections) -> Detections:
    nothing = np.empty(0, np.float32)
    return found.with_attributes(age=nothing, age_std=nothing, gender=_words(nothing), gender_score=nothing, quality=nothing)


def _words(female: NDArray[np.float32]) -> NDArray[np.str_]:
    """Return the likelier word for each probability of female, (n,) of `<U6`."""
    return np.where(female >= 0.5, *GENDERS).astype("<U6")
