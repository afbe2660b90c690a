"""Weights files: safetensors whose header says all that inference needs, and what a person would ask."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors
import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from safetensors.torch import save
from torch import Tensor, nn

from framehook import ModelError, OutputError, UsageError, did_you_mean
from framehook_plugins.agegender.networks import NETWORKS, Network, build
from framehook_plugins.agegender.outputs import OLDEST, Outputs
from framehook_plugins.agegender.pixels import CHANNELS, Colour
from framehook_plugins.whole import whole_file

FORMAT: Literal["framehook-age-gender-2"] = "framehook-age-gender-2"


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


FromJson = BeforeValidator(_from_json)
Year = Annotated[int, Field(ge=0, le=OLDEST)]


class Header(BaseModel):
    """What a weights file says of itself; each field is one string in the file, JSON where it has a structure."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    format: Literal["framehook-age-gender-2"] = Field(default=FORMAT, validate_default=True)
    """The meaning of these fields."""
    architecture: str
    """The network's layout: a name in `NETWORKS`."""
    options: Annotated[dict[str, Any], FromJson]
    """Its keywords, such as `width`."""
    input_size: int = Field(ge=32, le=1024)
    """Pixels of the input's sides."""
    colour: Colour
    """The input's channels, in their order."""
    mean: Annotated[tuple[float, ...], FromJson]
    """Of each channel, in units of 0 to 1: subtracted from the input."""
    std: Annotated[tuple[PositiveFloat, ...], FromJson]
    """Of each channel, in units of 0 to 1: the input is divided by it."""
    crop_margin: float = Field(gt=-1)
    """The crop's side is the box's longer side times (1 + crop_margin); the box is MTCNN's, or what its landmarks imply."""
    crop_shift: float
    """How far the crop's centre lies below the box's, in units of the box's longer side."""
    crop_border: Literal["edge", "white"]
    """What the crop shows beyond the picture: its edge, repeated, or white."""
    outputs: Annotated[Outputs, FromJson]
    """What the network's heads say, and how to read it."""
    age_range: Annotated[tuple[Year, Year], FromJson]
    """Youngest and oldest age that the network was trained on."""
    training_data: str
    """The sets, and which part of them."""
    licence: str
    """The terms that the training data puts on these weights."""
    recipe: str
    """The command that made them, and its settings."""
    metrics: Annotated[dict[str, Any], FromJson]
    """What was measured, by split."""
    date: str
    """Year, month and day of the training's end."""

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in NETWORKS:
            raise ValueError(f"want one of {', '.join(NETWORKS)}{did_you_mean(value, NETWORKS)}")
        return value

    @field_validator("options")
    @classmethod
    def _without_outputs(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "outputs" in value:
            raise ValueError("the outputs have a field of their own")
        return value

    @field_validator("mean", "std")
    @classmethod
    def _one_for_each_channel(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        colour = info.data.get("colour")  # absent where it is itself at fault
        if colour and len(value) != CHANNELS[colour]:
            raise ValueError(f"want {CHANNELS[colour]} for the colour {colour}, got {len(value)}")
        return value


def write(path: Path, network: nn.Module, header: Header) -> None:
    """Write a weights file: matrices and filters in float16, vectors (such as variances, which need the range) in float32.

    Raises:
        ModelError: the network is not what the header says, or a weight is not a finite number in its type.
        OutputError: the place cannot be written to; what stood there before stays.
    """
    tensors = {name: _stored(tensor) for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    _check_tensors(path, tensors, wanted=_empty_network(path, header))
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in header.model_dump(mode="json").items()
    }
    try:
        with whole_file(path) as part:
            # save_file makes a file that only its owner may read
            part.write_bytes(_in_one_order(save(tensors, metadata=metadata)))
    except (safetensors.SafetensorError, OSError) as error:
        raise OutputError(f"'{path}' cannot be written: {error}") from error


def _in_one_order(file: bytes) -> bytes:
    """Return a safetensors file with the fields of its header sorted: the library writes them in an order of chance.

    The header follows its own length, 8 bytes with the lowest first, and ends in blanks; the tensors' places count from its end.
    """
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[end:]


@torch.no_grad()
def round_as_stored(network: nn.Module) -> None:
    """Give a network the weights that it would have when read from its file; those that no file can hold stay."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and (stored := _stored(tensor)).isfinite().all():
            tensor.copy_(stored)


def read_header(path: Path) -> Header:
    """Return what a weights file says of itself.

    Raises:
        ModelError: no safetensors file, or a field is missing or not as it should be.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(f"'{path}' cannot be read as a safetensors file: {error}") from error
    if "format" not in metadata:
        raise ModelError(f"'{path}' lacks the field 'format' in its header: it is no age and gender model of framehook")
    try:
        return Header.model_validate(metadata)
    except ValidationError as error:
        raise ModelError(f"'{path}' {_first_problem(error)}; it must be made by framehook's trainers") from error


def read(path: Path) -> tuple[Network, Header]:
    """Return the network in float32, ready for inference, and what its file says.

    Raises:
        ModelError: the file is damaged, or lacks a field or a tensor, or its network is not what its header says.
    """
    header = read_header(path)
    network = _empty_network(path, header)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            # Copies: what safetensors returns may be the file itself, mapped into memory, and training would change it.
            names = file.keys()
            tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in names}
    except safetensors.SafetensorError as error:
        raise ModelError(f"'{path}' is damaged: {error}") from error
    _check_tensors(path, tensors, wanted=network)
    counters = {
        name: torch.zeros(own.shape, dtype=own.dtype) for name, own in network.state_dict().items() if not own.is_floating_point()
    }
    network.load_state_dict(tensors | counters, assign=True)
    return network.eval(), header


def _empty_network(path: Path, header: Header) -> Network:
    """Return the network that a header describes, its tensors without memory."""
    try:
        with torch.device("meta"):
            network = build(header.architecture, outputs=header.outputs, **header.options)
    except (UsageError, RuntimeError) as error:
        raise ModelError(f"'{path}' has a field 'options' that does not fit: {error}") from error
    if header.colour != network.colour:
        raise ModelError(
            f"'{path}' has '{header.colour}' in its field 'colour', its network '{header.architecture}' wants '{network.colour}'"
        )
    if network.input_size not in (None, header.input_size):
        raise ModelError(
            f"'{path}' has {header.input_size} in its field 'input_size', "
            f"its network '{header.architecture}' with its 'options' wants {network.input_size}"
        )
    return network


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], *, wanted: Network) -> None:
    """Raise ModelError where the tensors are not those of the network, or hold no numbers."""
    expected = {name: tensor.shape for name, tensor in wanted.state_dict().items() if tensor.is_floating_point()}
    for name, shape in expected.items():
        if name not in tensors:
            raise ModelError(f"'{path}' lacks the tensor '{name}'; it is damaged, or of another 'architecture' than it says")
        if tensors[name].shape != shape:
            raise ModelError(f"'{path}' has '{name}' of shape {tuple(tensors[name].shape)}, want {tuple(shape)}")
        if not tensors[name].sum(dtype=torch.float64).isfinite():  # in one pass; the sum of finite float32 is finite
            raise ModelError(f"'{path}' has numbers in '{name}' that are not finite or too large for {tensors[name].dtype}")
    if more := sorted(tensors.keys() - expected.keys()):
        raise ModelError(f"'{path}' has a tensor '{more[0]}' too many; it is of another 'architecture' than it says")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"lacks the field '{field}' in its header"
    message = problem["msg"].removeprefix("Value error, ")
    return f"has '{problem['input']}' in its field '{field}': {message[:1].lower()}{message[1:]}"


def _stored(tensor: Tensor) -> Tensor:
    """Return a tensor as a file holds it."""
    return tensor.detach().cpu().to(torch.float16 if tensor.ndim > 1 else torch.float32).contiguous()
