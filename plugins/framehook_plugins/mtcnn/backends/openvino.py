"""MTCNN's networks on OpenVINO."""

import io
from functools import cache
from typing import Any

import numpy as np
import openvino
import torch

from framehook_plugins.mtcnn.backends import Floats, Pixels
from framehook_plugins.mtcnn.backends.onnx_graph import onnx_graph
from framehook_plugins.mtcnn.networks import MtcnnNetwork


@cache
def _core() -> Any:
    """Return the one core of this process, which is never given back.

    Each brings the thread that first uses it a stack for signals, and puts back the one that it found. Of two that end in the
    order in which they began, the second puts back the first's, which is no more, and the next Ctrl-C ends the process.
    """
    return openvino.Core()


class OpenVinoNetwork:
    """A network on the CPU, in float32: bfloat16 would move the boxes.

    Args:
        network: one of `networks`.
    """

    def __init__(self, network: MtcnnNetwork) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # the two take turns on the same cores
        }
        model = _core().read_model(io.BytesIO(onnx_graph(network)))
        self._request = _core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, pixels: Pixels) -> list[Floats]:
        """Return the outputs for (n, height, width, 4)."""
        results = self._request.infer([np.ascontiguousarray(pixels)], share_inputs=True, share_outputs=True)
        return [output.copy() for output in results.values()]
