"""Which computing device the networks run on."""

import contextlib
import os
import threading
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Literal

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


class _ExactProducts:
    """Turns TF32 off, as torch has it for the whole process: from the first thread that enters to the last that leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                _turn_off_tf32(self._before)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.close()


_EXACT = _ExactProducts()


def exact_products(device: "torch.device") -> AbstractContextManager[None]:
    """Let convolutions and dense layers multiply float32 as it is: CUDA may round it to 19 bits first, and boxes would move.

    Convolutions do so by default, dense layers where the caller has allowed it.
    """
    return _EXACT if device.type == "cuda" else contextlib.nullcontext()


def _turn_off_tf32(before: ExitStack) -> None:
    """Have float32 multiplied as it is, until `before` is closed."""
    import torch

    cudnn: Any = torch.backends.cudnn  # Any: what it has depends on torch's version
    if not hasattr(cudnn, "conv"):
        before.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
        before.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        return
    # From torch 2.9 on the settings above are the older ones, which raise when they are read after the newer ones were set.
    for kind in (cudnn.conv, torch.backends.cuda.matmul):
        before.callback(setattr, kind, "fp32_precision", kind.fp32_precision)
        kind.fp32_precision = "ieee"


def computes_in_bfloat16(device: "torch.device") -> bool:
    """Say whether the device multiplies bfloat16 natively; elsewhere it is emulated, and slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.4 cannot tell yet
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
