"""What dlib's face recognition network has learnt, as weights to begin with.

The package `face-recognition-models` carries the file (extra `pretrained`). Its author, Davis King, trained it to tell 7,485
people apart on about three million pictures without ages or genders, and gave it to the public domain (CC0).

A file of dlib names each kind of layer before its numbers, in the order in which a picture passes through them. An integer is
a byte, whose lower half says how many bytes follow, and those, the lowest first; an array is its version (2), four sizes and its
values in float32 (`serialize.h` and `tensor.h` of dlib).
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from framehook import ModelError, UsageError
from framehook_plugins.agegender.networks import RecognitionResNet

PACKAGE = "face_recognition_models"
TRAINED_ON = "dlib's face recognition network, trained on about 3 million pictures of 7485 people"
LICENCE = "dlib's face recognition network: CC0 1.0"
MEAN, STD = (122.782 / 255, 117.001 / 255, 104.298 / 255), (256 / 255,) * 3
"""What dlib subtracts from its input and divides it by, in units of 0 to 1."""

_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_CONVOLUTION, _NORM = b"\x01\x05con_4", b"\x01\x07affine_"
_ARRAY = 2  # the version of an array's format


def recognition_file() -> Path:
    """Return where the installed package keeps the network.

    Raises:
        UsageError: it is not installed.
    """
    # Found and not imported: the package imports pkg_resources, which setuptools no longer has.
    package = importlib.util.find_spec(PACKAGE)
    for folder in (package and package.submodule_search_locations) or ():
        if (file := Path(folder) / _FILE).is_file():
            return file
    raise UsageError(
        "to begin with dlib's face recognition network needs the package 'face-recognition-models': "
        "install 'framehook[pretrained]', or begin afresh (--set network=resnet) or with other weights (--set start=FILE)"
    )


def recognition_weights(file: Path) -> dict[str, Tensor]:
    """Return the weights of `RecognitionResNet`'s convolutions, by name; its heads are not among them.

    Args:
        file: what `recognition_file` returns.

    Raises:
        ModelError: the file cannot be read, or holds another network.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelError(f"'{file}' cannot be read: {error.strerror}") from error
    with torch.device("meta"):
        convolutions = [(name, each) for name, each in RecognitionResNet().named_modules() if isinstance(each, nn.Conv2d)]
    layers = _Layers(content)
    weights = {}
    try:
        for name, convolution in convolutions:
            filters, biases = np.split(layers.take(_CONVOLUTION), [convolution.weight.numel()])
            scale, shift = layers.take(_NORM).reshape(2, -1)
            weights[f"{name}.weight"] = torch.from_numpy(filters.reshape(convolution.weight.shape) * scale[:, None, None, None])
            weights[f"{name}.bias"] = torch.from_numpy(biases * scale + shift)
    except (IndexError, ValueError) as error:
        raise ModelError(f"'{file}' does not hold dlib's face recognition network: {error}") from error
    return weights


class _Layers:
    """The arrays of a file, one after another."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, marker: bytes) -> NDArray[np.float32]:
        """Return the values of the next layer of this kind, (n,).

        Raises:
            ValueError: there is none.
        """
        self._place = self._content.index(marker, self._place) + len(marker)
        version, *sizes = (self._integer() for _ in range(5))
        if version != _ARRAY:
            raise ValueError(f"its arrays are of version {version}, want {_ARRAY}")
        values = np.frombuffer(self._content, "<f4", int(np.prod(sizes)), self._place)
        self._place += values.nbytes
        return values.astype(np.float32)

    def _integer(self) -> int:
        start = self._place + 1
        self._place = start + (self._content[self._place] & 0x0F)
        return int.from_bytes(self._content[start : self._place], "little")
