"""MTCNN's networks on ONNX Runtime."""

import onnxruntime
import torch

from framehook_plugins.mtcnn.backends import Floats, Pixels
from framehook_plugins.mtcnn.backends.onnx_graph import onnx_graph
from framehook_plugins.mtcnn.networks import MtcnnNetwork


class OnnxRuntimeNetwork:
    """A network on the CPU.

    Args:
        network: one of `networks`.
    """

    def __init__(self, network: MtcnnNetwork) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # the two take turns on the same cores
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to decoder and encoder
        self._session = onnxruntime.InferenceSession(onnx_graph(network), options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: Pixels) -> list[Floats]:
        """Return the outputs for (n, height, width, 4)."""
        return list(self._session.run(None, {"pixels": pixels}))
