"""Networks on ONNX Runtime."""

from typing import Any

import onnxruntime
import torch
from numpy.typing import NDArray


class OnnxRuntime:
    """A network on the CPU, in float32.

    Args:
        graph: of ONNX, with one input.
    """

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # the two take turns on the same cores
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to decoder and encoder
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the network's outputs for one batch."""
        return list(self._session.run(None, {self._input: pixels}))
