"""Networks on OpenVINO."""

import io
import threading
from collections import Counter
from typing import Any, TypeAlias

import numpy as np
import openvino
import torch
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]

# A program for one shape is a fifth faster than one for all, and takes as long to make as a few frames: so the shapes that come
# again and again get one, now one and then another, lest a camera's frames wait for all of them at once, but soon, for memory to
# be after some hundred frames what it stays at.
_OFTEN = 8  # uses of a shape
_BETWEEN = 16  # uses of the network, from one program to the next
_PROGRAMS = 64
_COUNTED = 1000  # shapes; pictures of many sizes have many


# The one core of this process, never freed. A core replaces the signal stack of the thread that first uses it, and restores
# the one it found when it is freed. Two that are freed in the order in which they were made leave the first one's freed stack
# in place, and the next Ctrl-C crashes the process.
_CORE = openvino.Core()


class OpenVinoRuntime:
    """A network on the CPU. Threads that share it take turns.

    Args:
        graph: of ONNX.
        bfloat16: compute in it instead of float32.
    """

    def __init__(self, graph: bytes, *, bfloat16: bool) -> None:
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # the two take turns on the same cores
            "ENABLE_CPU_PINNING": False,  # every program and process would be tied to the same first cores
        }
        self._model = _CORE.read_model(io.BytesIO(graph))
        self._for_all = self._program(self._model)
        self._for_one: dict[Shape, Any] = {}
        self._uses: Counter[Shape] = Counter()
        self._since = 0  # uses of the network since the last program was made
        self._turn = threading.Lock()

    def __call__(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the network's outputs for one batch."""
        with self._turn:  # until the copies are made: a program has one set of outputs
            request = self._for_one.get(pixels.shape) or self._chosen(pixels.shape)
            results = request.infer(np.ascontiguousarray(pixels), share_inputs=True, share_outputs=True)
            return [output.copy() for output in results.values()]

    def _chosen(self, shape: Shape) -> Any:
        """Return the program for a shape that has none of its own yet."""
        self._uses[shape] += 1
        self._since += 1
        if len(self._uses) > _COUNTED:
            self._uses.clear()
        if self._uses[shape] < _OFTEN or self._since < _BETWEEN or len(self._for_one) == _PROGRAMS:
            return self._for_all
        self._since = 0
        model = self._model.clone()
        model.reshape(list(shape))
        self._for_one[shape] = self._program(model)
        return self._for_one[shape]

    def _program(self, model: Any) -> Any:
        return _CORE.compile_model(model, "CPU", self._settings).create_infer_request()
