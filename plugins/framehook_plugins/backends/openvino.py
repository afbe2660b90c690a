"""Networks on OpenVINO."""

import io
from functools import cache
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray


@cache
def _core() -> Any:
    """Return the one core of this process, which is never given back.

    Each brings the thread that first uses it a stack for signals, and puts back the one that it found. Of two that end in the
    order in which they began, the second puts back the first's, which is no more, and the next Ctrl-C ends the process.
    """
    return openvino.Core()


class OpenVinoRuntime:
    """A network on the CPU.

    Args:
        graph: of ONNX.
        bfloat16: compute in it instead of float32.
    """

    def __init__(self, graph: bytes, *, bfloat16: bool) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # the two take turns on the same cores
        }
        model = _core().read_model(io.BytesIO(graph))
        self._request = _core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the network's outputs for one batch."""
        results = self._request.infer([np.ascontiguousarray(pixels)], share_inputs=True, share_outputs=True)
        return [output.copy() for output in results.values()]
