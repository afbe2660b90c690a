"""What every network has in common."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from framehook_plugins.agegender.outputs import Prediction
from framehook_plugins.agegender.pixels import Colour


class Network(nn.Module, ABC):
    """A network that says ages and genders of faces; its constructor takes `outputs`, and options that all have defaults."""

    colour: ClassVar[Colour] = "RGB"
    """The channels of its input."""
    input_size: int | None = None
    """Pixels of its input's sides, where it takes no other; None where it takes any from 32."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, channels, height, width), normalised."""

    def initialise_convolutions(self) -> None:
        """Initialise the convolutions as He et al. do, by their fan-out.

        Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers" (ICCV 2015), equation 14. Uniformly, since only the
        variance counts: to draw normally on the device `meta`, where weights files are laid out, torch first loads its compiler.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_out", nonlinearity="relu")
