"""Weights files: safetensors whose header says all that inference needs, and what a person would ask."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from safetensors.torch import save_file

from framehook import ModelError
from framehook_plugins.agegender.model import AGES, AgeGenderNet

FORMAT: Literal["framehook-age-gender-1"] = "framehook-age-gender-1"
ARCHITECTURE: Literal["resnet18"] = "resnet18"


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


FromJson = BeforeValidator(_from_json)
Triple = Annotated[tuple[float, float, float], FromJson]
Years = Annotated[tuple[int, int], FromJson]


class Header(BaseModel):
    """What a weights file says of itself; each field is one string in the file, JSON where it has a structure."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["framehook-age-gender-1"] = Field(default=FORMAT, validate_default=True)
    """The meaning of these fields."""
    architecture: Literal["resnet18"]
    """The network's layout."""
    width: int = Field(ge=2)
    """Channels of its first stage."""
    input_size: int = Field(ge=16)
    """Pixels of the input's sides."""
    colour: Literal["RGB"]
    """Order of the input's channels."""
    mean: Triple
    """Of each channel, in units of 0 to 1: subtracted from the input."""
    std: Triple
    """Of each channel, in units of 0 to 1: the input is divided by it."""
    crop_margin: float = Field(gt=-1)
    """The crop's side is the box's longer side times (1 + crop_margin); the box is MTCNN's, or what its landmarks imply."""
    crop_shift: float
    """How far the crop's centre lies below the box's, in units of the box's longer side."""
    output_ages: Years
    """First and last year of the age distribution, one logit for each year."""
    output_gender: Literal["female"]
    """What a positive gender logit means."""
    age_range: Years
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


def write(path: Path, model: AgeGenderNet, header: Header) -> None:
    """Write a weights file: matrices and filters in float16, vectors (such as variances, which need the range) in float32."""
    tensors = {
        name: tensor.detach().cpu().to(torch.float16 if tensor.ndim > 1 else torch.float32).contiguous()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in header.model_dump(mode="json").items()
    }
    save_file(tensors, path, metadata=metadata)


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
        header = Header.model_validate(metadata)
    except (ValidationError, json.JSONDecodeError) as error:
        raise ModelError(f"'{path}' {_first_problem(error)}; it must be made by framehook's trainers") from error
    if header.output_ages != (0, AGES - 1):
        raise ModelError(f"'{path}' has ages {header.output_ages} in its field 'output_ages', want (0, {AGES - 1})")
    return header


def read(path: Path) -> tuple[AgeGenderNet, Header]:
    """Return the network in float32, ready for inference, and what its file says.

    Raises:
        ModelError: the file is damaged, or lacks a field or a tensor.
    """
    header = read_header(path)
    model = AgeGenderNet(width=header.width)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  # no mapping
    except safetensors.SafetensorError as error:
        raise ModelError(f"'{path}' is damaged: {error}") from error
    for name, own in model.state_dict().items():
        if not own.is_floating_point():
            continue  # a counter that only training uses
        if name not in tensors:
            raise ModelError(f"'{path}' lacks the tensor '{name}'; it is damaged or of another network")
        if tensors[name].shape != own.shape:
            raise ModelError(f"'{path}' has '{name}' of shape {tuple(tensors[name].shape)}, want {tuple(own.shape)}")
    model.load_state_dict(tensors, strict=False)
    return model.eval(), header


def _first_problem(error: ValidationError | json.JSONDecodeError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"has a field that is no JSON: '{error.doc}'"
    problem = error.errors()[0]
    field = problem["loc"][0]
    if problem["type"] == "missing":
        return f"lacks the field '{field}' in its header"
    return f"has '{problem['input']}' in its field '{field}': {problem['msg'].lower()}"
