"""A network with what it sees and what its outputs mean: from prepared faces to answers, and to its weights file's header."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from framehook import Image, ModelError
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.inference import both_views
from framehook_plugins.agegender.networks import Network, build
from framehook_plugins.agegender.outputs import OLDEST, Decoder, Outputs
from framehook_plugins.agegender.pixels import Colour, Normalisation
from framehook_trainers.datasets import fairface, imdb_wiki, utkface
from framehook_trainers.datasets.faces import Faces
from framehook_trainers.metrics import Answers
from framehook_trainers.pretrained import LICENCE, TRAINED_ON, recognition_file, recognition_weights

_LICENCES = {
    utkface.NAME: utkface.LICENCE,
    fairface.NAME: fairface.LICENCE,
    **dict.fromkeys(imdb_wiki.STRUCTS, imdb_wiki.LICENCE),
}
_CARRIED = ". The weights carry the terms of all their data."
_BEGUN, _TAUGHT = "begun with", "taught by"
_WEIGHTS = "The weights it was {}: "
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a weights file will say of its network, but for how well it does."""

    architecture: str
    """A name in `framehook_plugins.agegender.networks.NETWORKS`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The network's keywords."""
    input_size: int
    """Pixels of the input's sides."""
    outputs: Outputs
    """What the heads say."""
    colour: Colour = "RGB"
    """The input's channels."""
    mean: tuple[float, ...] = (0.5, 0.45, 0.42)
    """Of each channel, in units of 0 to 1: subtracted from the input."""
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    """Of each channel, in units of 0 to 1: the input is divided by it."""
    ages: tuple[int, int] | None = None
    """Youngest and oldest age that is learnt from; None: all."""
    pretrained: bool = False
    """Whether training begins with dlib's face recognition network, if not with weights of ours."""
    starts: tuple[Path, ...] = ()
    """The weights files whose average training begins with; what they lack, such as further blocks, is fresh; none: all is."""
    teachers: tuple[Path, ...] = ()
    """The weights files whose answers were taught beside the labels."""

    def network(self) -> Network:
        """Return the network as training begins with it.

        Raises:
            ModelError: a file to start from is no weights file, is damaged, or holds what is not in this network.
            UsageError: dlib's network is to be begun with and is not installed.
        """
        network = build(self.architecture, outputs=self.outputs, **self.options)
        if self.pretrained and not self.starts:
            network.load_state_dict(network.state_dict() | recognition_weights(recognition_file()))
        begun = [self._begun(start, network.state_dict()) for start in self.starts]
        if begun:
            network.load_state_dict({name: torch.stack([each[name] for each in begun]).double().mean(0) for name in begun[0]})
        return network

    def _begun(self, start: Path, fresh: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights that a file gives this network, with the fresh ones where it has none."""
        network, header = checkpoint.read(start)
        given = network.state_dict()
        if any(name not in fresh or fresh[name].shape != tensor.shape for name, tensor in given.items()):
            raise ModelError(
                f"'{start}' holds {header.architecture} with {dict(header.options)} and its own outputs, this run "
                f"trains {self.architecture} with {dict(self.options)}: choose the same settings, or another start"
            )
        return fresh | given

    def normalisation(self, device: torch.device) -> Normalisation:
        """Return what turns pixels, (n, size, size, 3) uint8, into the network's input."""
        return Normalisation(colour=self.colour, mean=self.mean, std=self.std).to(device)

    @torch.inference_mode()
    def answer(
        self, network: nn.Module, faces: Faces, *, device: torch.device, flip: bool, rows: NDArray[np.integer] | None = None
    ) -> Answers:
        """Return what the network says of each face, seen as inference would cut it.

        Args:
            network: in evaluation mode, on the device.
            faces: prepared faces.
            device: where it runs.
            flip: average over each face and its mirror image.
            rows: (n,) which faces; None: all.
        """
        rows = np.arange(len(faces)) if rows is None else rows
        normalise, decode = self.normalisation(device), Decoder(self.outputs).to(device)
        parts = []
        for start in range(0, len(rows), _AT_ONCE):
            pixels = torch.from_numpy(self.seen(faces, rows[start : start + _AT_ONCE])).to(device)
            decoded = decode(network(normalise(torch.cat([pixels, pixels.flip(2)]) if flip else pixels)))
            parts.append([each.cpu().numpy() for each in (both_views(decoded) if flip else decoded)])
        age, age_std, female = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Answers(age=age, age_std=age_std, female=female)

    def learnt(self, ages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of labels, (n, 2), whether training learns their ages, (n,): they are known, and none too young or too old."""
        youngest, oldest = self.ages or (0, ages.max(initial=0))
        return np.asarray((ages[:, 0] >= youngest) & (ages[:, 1] <= oldest))

    def seen(self, faces: Faces, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return these faces at the size of the input, (k, size, size, 3), whatever size they were prepared at."""
        crops = faces.centres(rows)
        return crops if crops.shape[1] == self.input_size else np.stack([_resized(crop, self.input_size) for crop in crops])

    def header(self, faces: Faces, *, shown: Sequence[str], recipe: str, metrics: dict[str, Any]) -> checkpoint.Header:
        """Return the header of the weights file.

        Args:
            faces: of the training split.
            shown: the sets that training saw.
            recipe: the command and its settings.
            metrics: what was measured, by split.
        """
        rows = np.concatenate([faces.rows(dataset=name) for name in shown])
        ages = faces.ages[rows][self.learnt(faces.ages[rows])].clip(max=OLDEST)
        data = ", ".join(f"{len(faces.rows(dataset=name))} faces of {name}" for name in shown) + ", split by image content"
        licences = [_LICENCES.get(name, f"{name}: unknown, ask those who published it") for name in shown]
        data, licence = self._with_sources(data, licences)
        return checkpoint.Header(
            architecture=self.architecture,
            options=dict(self.options),
            input_size=self.input_size,
            colour=self.colour,
            mean=self.mean,
            std=self.std,
            crop_margin=faces.geometry.margin,
            crop_shift=faces.geometry.shift,
            crop_border=faces.geometry.border,
            outputs=self.outputs,
            age_range=(int(ages.min()), int(ages.max())),
            training_data=data,
            licence=licence,
            recipe=recipe,
            metrics=metrics,
            date=datetime.now(UTC).date().isoformat(),
        )

    def _with_sources(self, data: str, licences: list[str]) -> tuple[str, str]:
        """Return the data and the terms with those of the weights to begin with and of the teachers, each said once.

        What others were taught is in these weights, too, and so are the terms.
        """
        told, terms = {data: None}, {licence: licence for licence in licences}
        if self.pretrained and not self.starts:
            told[f"{_BEGUN} {TRAINED_ON}"] = None
            terms[LICENCE] = _WEIGHTS.format(_BEGUN) + LICENCE
        average = "weights" if len(self.starts) == 1 else "the average of weights"
        for how, what, files in ((_BEGUN, average, self.starts), (_TAUGHT, "weights", self.teachers)):
            if not files:
                continue
            headers = [checkpoint.read_header(file) for file in files]
            sources = [header.training_data.split("; ") for header in headers]
            told[f"{how} {what} trained on {', and on '.join(dict.fromkeys(own for own, *_ in sources))}"] = None
            told |= {older: None for _, *before in sources for older in before}
            for term in (term for header in headers for term in header.licence.removesuffix(_CARRIED).split(". ")):
                bare = term.removeprefix(_WEIGHTS.format(_BEGUN)).removeprefix(_WEIGHTS.format(_TAUGHT))
                terms.setdefault(bare, _WEIGHTS.format(how) + bare)
        return "; ".join(told), ". ".join(terms.values()) + _CARRIED


def _resized(crop: Image, size: int) -> Image:
    shrinking = size < crop.shape[0]
    return np.asarray(
        cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR), dtype=np.uint8
    )
