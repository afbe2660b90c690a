"""MTCNN's networks as ONNX graphs, which OpenVINO and ONNX Runtime read.

Written out node by node: there are five kinds, and torch's own exporter takes ten seconds for what this does in milliseconds.
"""

from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from framehook_plugins.mtcnn.networks import FlattenColumns, MtcnnNetwork

_OPSET = 17


def onnx_graph(network: MtcnnNetwork) -> bytes:
    """Return a network as a serialised ONNX model.

    Its input is (n, height, width, 4) float32; its outputs are those of the network, in their order, those of P-Net with
    channels last.
    """
    graph = _Graph()
    trunk = graph.layers(network.trunk, graph.add("Transpose", "pixels", perm=(0, 3, 1, 2)))
    outputs = [graph.layers(head, trunk) for head in network.heads]
    return bytes(graph.model(outputs).SerializeToString())


class _Graph:
    """Nodes and weights, until they are a model."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []
        self._flat = False

    def layers(self, layers: Any, features: str) -> str:
        """Add what layers do one after the other to some features, and return the name of what comes out."""
        for layer in layers:
            features = self._layer(layer, features)
        return features

    def _layer(self, layer: Any, features: str) -> str:
        match layer:
            case nn.Conv2d():
                return self.add("Conv", features, layer.weight, layer.bias)
            case nn.PReLU():
                return self.add("PRelu", features, layer.weight.reshape(-1) if self._flat else layer.weight.reshape(-1, 1, 1))
            case nn.MaxPool2d():
                side = layer.kernel_size
                return self.add("MaxPool", features, kernel_shape=(side, side), strides=(layer.stride,) * 2, ceil_mode=1)
            case FlattenColumns():
                self._flat = True
                return self.add("Flatten", self.add("Transpose", features, perm=(0, 3, 2, 1)))
            case nn.Linear():
                return self.add("Gemm", features, layer.weight, layer.bias, transB=1)
            case nn.Softmax():
                return self.add("Softmax", features, axis=1)
            case nn.Sigmoid():
                return self.add("Sigmoid", features)
        raise TypeError(f"no ONNX for {layer}")

    def add(self, kind: str, features: str, *weights: Any, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        name = f"{kind.lower()}{len(self._nodes)}"
        inputs = [features, *(f"{name}.{i}" for i in range(len(weights)))]
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self._weights += [numpy_helper.from_array(w.detach().numpy(), key) for w, key in zip(weights, inputs[1:], strict=True)]
        return name

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        """Return the model with these outputs."""
        if not self._flat:
            outputs = [self.add("Transpose", output, perm=(0, 2, 3, 1)) for output in outputs]
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", "height", "width", 4])
        dimensions = ["n", None] if self._flat else ["n", "rows", "columns", None]
        ends = [helper.make_tensor_value_info(output, TensorProto.FLOAT, dimensions) for output in outputs]
        graph = helper.make_graph(self._nodes, "mtcnn", [pixels], ends, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model
