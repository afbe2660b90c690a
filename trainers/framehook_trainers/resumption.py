"""The file that a run is resumed from: written whole or not at all."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from framehook import ModelError, OutputError
from framehook_plugins.whole import whole_file

CHECKPOINT = "checkpoint.pt"


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint; where that fails the one before stays.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    try:
        with whole_file(folder / CHECKPOINT) as part:
            torch.save(dict(state), part)
    except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk by the latter
        if isinstance(error, torch.cuda.OutOfMemoryError) or str(error).startswith("CUDA"):  # of where the tensors come from
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise OutputError(
            f"'{folder / CHECKPOINT}' cannot be written, the one before is kept ({reason}); make room, and resume the run"
        ) from error


def read_state(folder: Path) -> dict[str, Any]:
    """Return what the checkpoint holds, its tensors on the CPU.

    Raises:
        ModelError: it cannot be read.
    """
    path = folder / CHECKPOINT
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself compares no checksums
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of '{damaged}' differs")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
    except Exception as error:  # a damaged file fails in many ways: zip, pickle, storage
        raise damaged_checkpoint(path, error) from error
    return state


def damaged_checkpoint(path: Path, error: Exception) -> ModelError:
    """Return the error that tells of a checkpoint that is none."""
    return ModelError(f"'{path}' cannot be read as a checkpoint ({type(error).__name__}); begin the run anew")
