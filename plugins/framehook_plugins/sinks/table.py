"""A CSV file whose attribute columns are known when the first result comes."""

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from framehook_plugins.sinks.files import TextFile
from framehook_plugins.sinks.values import cell

_log = logging.getLogger(__name__)


class Table:
    """A CSV file (RFC 4180, but for line ends of one character): fixed columns, then one for each attribute of one value.

    Args:
        path: where it is.
        columns: headings of the fixed columns.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = tuple(columns)
        self._attributes: tuple[str, ...] | None = None
        self._left_out: set[str] = set()
        self._file = TextFile(path)

    def settle(self, attributes: Mapping[str, NDArray[Any]]) -> None:
        """Take the columns from the first attributes seen, and write the header; warn once of each that comes later."""
        names = [name for name, values in attributes.items() if values.ndim == 1]
        if self._attributes is None:
            self._attributes = tuple(names)
            self._file.write(_line([*self._columns, *names]))
            return
        for name in names:
            if name not in self._attributes and name not in self._left_out:
                self._left_out.add(name)
                _log.warning("%s: attribute '%s' is left out: it came after the header was written", self._path, name)

    def add(self, rows: Iterable[tuple[Sequence[str], Mapping[str, Any]]]) -> None:
        """Append rows: the text of the fixed columns, and the attributes."""
        names = self._attributes or ()
        lines = [_line([*fixed, *(cell(attributes.get(name)) for name in names)]) for fixed, attributes in rows]
        if lines:
            self._file.write("".join(lines))

    def close(self) -> None:
        """Finish the file, with a header if nothing else; a second call is harmless."""
        try:
            if self._attributes is None:
                self.settle({})
        finally:
            self._file.close()


class _Echo:
    """A file for csv.writer that hands each line back."""

    def write(self, line: str) -> str:
        return line


# Fields with a carriage return are quoted only when it is part of the line end; _line takes that off again.
_writer = csv.writer(_Echo(), lineterminator="\r\n")


def _line(cells: Sequence[str]) -> str:
    return str(_writer.writerow(cells)).removesuffix("\r\n") + "\n"
