"""The formats that `framehook prepare` reads, by name."""

from collections.abc import Callable
from typing import NamedTuple

from framehook import UsageError, did_you_mean
from framehook_trainers.datasets import fairface, imdb_wiki, table, utkface
from framehook_trainers.datasets.samples import Reading

_READERS: dict[str, Callable[[str], Reading]] = {
    "utkface": utkface.read,
    "fairface": fairface.read,
    "imdb-wiki": imdb_wiki.read,
    "table": table.read,
}
FORMATS = tuple(_READERS)
_PUBLISHED = (utkface.NAME, fairface.NAME, *imdb_wiki.STRUCTS)


class Source(NamedTuple):
    """Where a set lies, and how its labels are written."""

    format: str
    """One of `FORMATS`."""
    location: str
    """A folder, a tar archive, a csv or a `.mat` file: a path, or a URL."""

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Read `FORMAT:LOCATION`.

        Raises:
            UsageError: there is no such format, or no location.
        """
        name, _, location = text.partition(":")
        _check(name, got=text)
        if not location:
            raise UsageError(f"'{text}' has no location: write {name}:FOLDER, or {name}:s3://BUCKET/FOLDER")
        return cls(name, location)

    def __str__(self) -> str:
        return f"{self.format}:{self.location}"


def read_samples(format: str, location: str) -> Reading:  # noqa: A002  # the word that users know, from `--format`
    """Return a set's labelled pictures; none is read yet.

    Args:
        format: one of `FORMATS`.
        location: a folder, a tar archive, a csv or a `.mat` file: a path, or a URL.

    Raises:
        UsageError: no such format, nothing there, or a column or field is missing.
        SourceError: a file is damaged.
    """
    _check(format, got=format)
    reading = _READERS[format](location)
    if format == "table" and reading.samples and reading.samples[0].dataset in _PUBLISHED:
        name = reading.samples[0].dataset
        raise UsageError(
            f"'{location}' would be taken for the published set '{name}', which has terms of its own: rename the file"
        )
    return reading


def _check(name: str, *, got: str) -> None:
    if name not in FORMATS:
        raise UsageError(
            f"no format is named '{name}' in '{got}'{did_you_mean(name, FORMATS)} (write FORMAT:LOCATION; "
            f"there are: {', '.join(FORMATS)})"
        )
