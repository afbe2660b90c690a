"""Which computing device the networks run on."""

from typing import TYPE_CHECKING, Literal

from framehook import DeviceError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
"""`auto` is CUDA where there is one, else the CPU."""


def resolve_device(wanted: Device) -> "torch.device":
    """Return the torch device of that name.

    Raises:
        DeviceError: `cuda` on a machine without one.
    """
    import torch  # not above: options are checked and plugins listed without it

    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device 'cuda' is not there: torch {torch.__version__} sees no CUDA device; use device 'cpu' or 'auto'"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
