"""Which computing device the networks run on."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from framehook import DeviceError

if TYPE_CHECKING:
    import torch

# torch's threads wait for each other many times a frame. By default they wait by spinning, which takes the cores from the
# decoder, the encoder and whatever else runs here: on two busy cores sleeping instead is twice as fast. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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


@contextlib.contextmanager
def exact_products(device: "torch.device") -> Iterator[None]:
    """Let convolutions multiply float32 as it is: by default CUDA rounds it to 19 bits first, and boxes would move."""
    import torch

    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=torch.backends.cudnn.benchmark, allow_tf32=False):
        yield


def computes_in_bfloat16(device: "torch.device") -> bool:
    """Say whether the device multiplies bfloat16 natively; elsewhere it is emulated, and slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.4 cannot tell yet
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
