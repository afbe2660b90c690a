"""A CSV file whose attribute columns are known when the first detection comes."""

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from framehook import Detections, UsageError
from framehook_plugins.sinks.files import TextFile
from framehook_plugins.sinks.values import cell

_log = logging.getLogger(__name__)


class Table:
    """A CSV file (RFC 4180, but for line ends of one character): fixed columns, then one for each attribute of one value.

    The file is empty until something is found: only a result with rows tells which attributes have one value.

    Args:
        path: where it is.
        columns: headings of the fixed columns.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = tuple(columns)
        self._attributes: list[str] = []
        self._begun = False  # whether the header is written
        self._left_out: set[str] = set()
        self._file = TextFile(path)

    def settle(self, detections: Detections) -> None:
        """Take the columns from the first detections that are any, and write the header; warn once of each that comes later.

        Raises:
            UsageError: an attribute that is called like a fixed column.
        """
        names = [name for name, values in detections.attributes.items() if values.ndim == 1]
        if self._begun:
            self._warn_of_late(names if len(detections) else [])
            return
        self._take(names)
        if len(detections):
            self._begin()

    def add(self, rows: Iterable[tuple[Sequence[str], Mapping[str, Any]]]) -> None:
        """Append rows: the text of the fixed columns, and the attributes."""
        names = self._attributes
        lines = [_line([*fixed, *(cell(attributes.get(name)) for name in names)]) for fixed, attributes in rows]
        if lines:
            self._file.write("".join(lines))

    def close(self) -> None:
        """Finish the file, with a header if nothing else; a second call is harmless."""
        try:
            if not self._begun:
                self._begin()
        finally:
            self._file.close()

    def _take(self, names: list[str]) -> None:
        for name in names:
            if name in self._columns:
                raise UsageError(
                    f"attribute '{name}' cannot be written to '{self._path}', which has a column of that name for something "
                    "else; give it another name in the plugin that adds it"
                )
        self._attributes = names

    def _begin(self) -> None:
        self._begun = True
        self._file.write(_line([*self._columns, *self._attributes]))

    def _warn_of_late(self, names: list[str]) -> None:
        for name in names:
            if name not in self._attributes and name not in self._left_out:
                self._left_out.add(name)
                _log.warning("%s: attribute '%s' is left out: it came after the header was written", self._path, name)


class _Echo:
    """A file for csv.writer that hands each line back."""

    def write(self, line: str) -> str:
        return line


# Fields with a carriage return are quoted only when it is part of the line end; _line takes that off again.
_writer = csv.writer(_Echo(), lineterminator="\r\n")


def _line(cells: Sequence[str]) -> str:
    return str(_writer.writerow(cells)).removesuffix("\r\n") + "\n"
