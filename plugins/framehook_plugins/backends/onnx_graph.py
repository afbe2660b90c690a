"""Networks as ONNX graphs, which OpenVINO and ONNX Runtime read.

A network is traced once, and each thing that it does is written down as a node. There are two dozen kinds of them; torch's own
exporter takes ten seconds for what this does in a tenth of one.
"""

import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

from framehook_plugins.backends import NoGraphError

_OPSET = 17
_TO_THE_END = 2**63 - 1
_TRACING = threading.Lock()  # torch traces one network at a time


def onnx_graph(network: nn.Module, *, sides: tuple[int | str, int | str], channels: int) -> bytes:
    """Return a network as a serialised ONNX model.

    Args:
        network: in evaluation mode, traceable by `torch.fx`; of (n, height, width, channels) it makes tensors that begin with n.
        sides: height and width; a name where it varies.
        channels: of the pixels: 3 are bytes, 4 are floats.

    Raises:
        NoGraphError: a layer or function that is not known here.
    """
    with _TRACING:
        traced = fx.GraphModule(network, _Tracer().trace(network))
    writer = _Writer(traced)
    outputs = writer.run("pixels")
    kind = TensorProto.UINT8 if channels == 3 else TensorProto.FLOAT
    pixels = helper.make_tensor_value_info("pixels", kind, ["n", *sides, channels])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(writer.nodes, type(network).__name__, [pixels], ends, writer.weights)
    # The outputs have no shapes, and nothing is checked: whoever reads the graph does both, and faster.
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8).SerializeToString())


class _Tracer(fx.Tracer):
    """Traces what its own thread does. Meanwhile torch hands it the modules of all threads: those of others just run."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Trace a layer, or run another thread's."""
        mine = threading.get_ident() == self._thread
        return super().call_module(m, forward, args, kwargs) if mine else forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Trace the look at an attribute, or just look at another thread's."""
        mine = threading.get_ident() == self._thread
        return super().getattr(attr, attr_val, parameter_proxy_cache) if mine else attr_val


class _Writer(fx.Interpreter):
    """Runs a traced network on names instead of tensors: what each step returns is the name of its output."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Write down a tensor."""
        return self._weight(super().get_attr(target, args, kwargs))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Write down a layer."""
        layer = self.fetch_attr(target)
        if type(layer) not in _LAYERS:
            raise NoGraphError(f"no graph can be made of a network with {layer}: use backend 'torch'")
        return _LAYERS[type(layer)](self, args[0], layer)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Write down a function of torch, or an operator; a named tuple is what it holds."""
        if isinstance(target, type) and issubclass(target, tuple):
            return tuple(args)
        return self._called(getattr(target, "__name__", str(target)), args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Write down a method of a tensor."""
        return self._called(str(target), args, kwargs)

    def _called(self, name: str, args: Any, kwargs: Any) -> str:
        if name not in _CALLS:
            raise NoGraphError(f"no graph can be made of a network that calls {name}: use backend 'torch'")
        return _CALLS[name](self, *args, **kwargs)

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Write down a node, and return the name of its output.

        Args:
            kind: a word of ONNX.
            inputs: names, tensors or arrays.
            attributes: the node's.
        """
        names = [value if isinstance(value, str) else self._weight(value) for value in inputs]
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def _weight(self, value: Any) -> str:
        name = f"weight{len(self.weights)}"
        array = value.detach().float().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.weights.append(numpy_helper.from_array(array, name))
        return name


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _window(layer: Any) -> dict[str, Any]:
    """Return what convolutions and poolings have in common."""
    return {"kernel_shape": _pair(layer.kernel_size), "strides": _pair(layer.stride), "pads": _pair(layer.padding) * 2}


def _convolution(writer: _Writer, x: str, layer: Any) -> str:
    weights = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    return writer.add("Conv", x, *weights, **_window(layer), dilations=_pair(layer.dilation), group=layer.groups)


def _batch_norm(writer: _Writer, x: str, layer: Any) -> str:
    tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    return writer.add("BatchNormalization", x, *tensors, epsilon=layer.eps)


def _batch_norm_of_vectors(writer: _Writer, x: str, layer: Any) -> str:
    # Readers differ on a norm of what has no height and width, so its scale and shift are written down.
    zero, one = layer(torch.stack([torch.zeros(layer.num_features), torch.ones(layer.num_features)]))
    return writer.add("Add", writer.add("Mul", x, one - zero), zero)


def _zero_pad(writer: _Writer, x: str, layer: Any) -> str:
    left, right, top, bottom, front, back = layer.padding  # the last axis first
    return writer.add("Pad", x, np.array([0, front, top, left, 0, back, bottom, right]))


def _average_pool(writer: _Writer, x: str, layer: Any) -> str:
    included = int(layer.count_include_pad)
    return writer.add("AveragePool", x, **_window(layer), ceil_mode=int(layer.ceil_mode), count_include_pad=included)


def _prelu(writer: _Writer, x: str, layer: Any) -> str:
    # ONNX lines slopes up with the last axis, torch with the channels; after dense layers these are the same.
    flat = writer.nodes[-1].op_type == "Gemm"
    return writer.add("PRelu", x, layer.weight if flat else layer.weight.reshape(-1, 1, 1))


def _slice(writer: _Writer, x: str, index: tuple[slice, ...]) -> str:
    starts = [each.start or 0 for each in index]
    ends = [_TO_THE_END if each.stop is None else each.stop for each in index]
    return writer.add("Slice", x, np.array(starts), np.array(ends), np.arange(len(index)))


_LAYERS: Mapping[type[nn.Module], Callable[..., str]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm_of_vectors,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: lambda writer, x, layer: writer.add("Gemm", x, layer.weight, layer.bias, transB=1),
    nn.ReLU: lambda writer, x, layer: writer.add("Relu", x),
    nn.PReLU: _prelu,
    nn.Softmax: lambda writer, x, layer: writer.add("Softmax", x, axis=layer.dim),
    nn.MaxPool2d: lambda writer, x, layer: writer.add("MaxPool", x, **_window(layer), ceil_mode=int(layer.ceil_mode)),
    nn.AvgPool2d: _average_pool,
    nn.ZeroPad3d: _zero_pad,
    nn.Flatten: lambda writer, x, layer: writer.add("Flatten", x, axis=layer.start_dim),
    nn.Identity: lambda writer, x, layer: x,
    nn.Dropout: lambda writer, x, layer: x,
    nn.Dropout2d: lambda writer, x, layer: x,
}

_CALLS: Mapping[str, Callable[..., str]] = {
    operator.add.__name__: lambda writer, a, b: writer.add("Add", a, b),
    operator.mul.__name__: lambda writer, a, b: writer.add("Mul", a, b),
    operator.getitem.__name__: _slice,
    "addcmul": lambda writer, x, a, b: writer.add("Add", x, writer.add("Mul", a, b)),
    "relu": lambda writer, x: writer.add("Relu", x),
    "float": lambda writer, x: writer.add("Cast", x, to=TensorProto.FLOAT),
    "permute": lambda writer, x, *order: writer.add("Transpose", x, perm=order),
    "flatten": lambda writer, x, start_dim=0: writer.add("Flatten", x, axis=start_dim),
    "mean": lambda writer, x, dim: writer.add("ReduceMean", x, axes=dim, keepdims=0),
    "sum": lambda writer, x, dim, keepdim: writer.add("ReduceSum", x, np.array([dim]), keepdims=int(keepdim)),
}
