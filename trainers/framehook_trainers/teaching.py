"""Networks that teach another one what they have learnt."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from framehook import ModelError
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.inference import fuse_batch_norms
from framehook_plugins.agegender.networks import Network
from framehook_plugins.agegender.outputs import Age, Decoder, Prediction
from framehook_plugins.agegender.pixels import Normalisation
from framehook_trainers.losses import binary_cross_entropy, label_divergence


class _Teacher(NamedTuple):
    network: Network
    side: int
    see: Normalisation
    decode: Decoder


class Teachers:
    """Trained networks whose mean answer to a view is what another network should say of it.

    Every second one sees the mirror image: what a face's side alone would decide is not taught, and one that is named twice
    answers as at inference without a track.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015); that teacher and pupil see the same
    view is from Beyer et al., "Knowledge distillation: A good teacher is patient and consistent" (CVPR 2022).

    Args:
        weights: their files.
        age: the pupil's age head, which must be theirs, too: their distributions are compared year by year.
        device: where they and the pupil are.

    Raises:
        ModelError: a file is no weights file, or its ages are told in another way.
    """

    def __init__(self, weights: Sequence[Path], *, age: Age, device: torch.device) -> None:
        self._teachers: list[_Teacher] = []
        for path in weights:
            network, header = checkpoint.read(path)
            if header.outputs.age != age:
                raise ModelError(f"'{path}' cannot teach this network: want the age as {age!r}, got {header.outputs.age!r}")
            fuse_batch_norms(network)
            self._teachers.append(
                _Teacher(
                    network=network.to(device).to(memory_format=torch.channels_last),
                    side=header.input_size,
                    see=Normalisation(colour=header.colour, mean=header.mean, std=header.std).to(device),
                    decode=Decoder(header.outputs).to(device),
                )
            )

    @torch.no_grad()
    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean distribution over ages, (n, years), and the mean probability of female, (n,).

        Args:
            pixels: (n, side, side, 3) uint8, which each teacher sees at its own size.
        """
        ages, females = [], []
        for i, teacher in enumerate(self._teachers):
            seen = teacher.see(pixels.flip(2) if i % 2 else pixels)
            prediction = teacher.network(_resized(seen, teacher.side))
            ages.append(prediction.age.float().softmax(dim=1))
            females.append(teacher.decode(prediction).female)
        return torch.stack(ages).mean(dim=0), torch.stack(females).mean(dim=0)

    def loss(self, prediction: Prediction, pixels: Tensor) -> Tensor:
        """Return how far the pupil's prediction is from the teachers' answer to the same views, on average.

        Args:
            prediction: with one logit of gender.
            pixels: (n, side, side, 3) uint8: what the pupil saw.
        """
        ages, females = self.answer(pixels)
        losses = label_divergence(prediction.age, ages) + binary_cross_entropy(prediction.gender[:, 0], females)
        return losses.mean()


def _resized(images: Tensor, side: int) -> Tensor:
    """Return (n, 3, side, side)."""
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
