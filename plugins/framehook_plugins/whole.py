"""Files that are there as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def part_of(path: Path) -> Path:
    """Return where a file lies until it is whole: beside its place."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which takes its place when the block ends without an error.

    A link stays: what it leads to is replaced. What is no regular file, such as a pipe or a device, is itself written into.

    Raises:
        OSError: it cannot be put there; what was there before stays.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    part = part_of(place)
    try:
        yield part
        part.replace(place)
    finally:
        with suppress(OSError):  # where not even the folder is there
            part.unlink(missing_ok=True)
