"""Files that are there as a whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def part_of(path: Path) -> Path:
    """Return where a file lies until it is whole: beside its place."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which takes its place when the block ends without an error.

    Raises:
        OSError: it cannot be put there; what was there before stays.
    """
    part = part_of(path)
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):  # where not even the folder is there
            part.unlink(missing_ok=True)
