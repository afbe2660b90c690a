"""Any set whose labels stand in a csv file: a path, and an age, a bracket of ages or a gender for each picture."""

import csv
import io
import math
from collections.abc import Iterator, Sequence

from framehook import SourceError, UsageError, did_you_mean
from framehook_trainers.datasets.samples import MALFORMED_ROW, WITHOUT_LABEL, Drops, Reading, Sample
from framehook_trainers.datasets.storage import FileReader, join, name_of, parent, read_bytes

GENDERS = {"female": True, "f": True, "male": False, "m": False}
"""Whether female, by word or code, in any case."""

_AGES = ("age", "age_low", "age_high")
_FACTS = ("face_score", "second_face_score")


def read(location: str) -> Reading:
    """Return the pictures that a csv file names, relative to its folder or by a whole path or URL.

    Columns: `path`; `age`, or `age_low` and `age_high`, in years; `gender`: female, male, f or m; also `race`, `face_score` and
    `second_face_score`. An empty cell is an unknown. A cell that cannot be meant leaves its row out, counted.

    Raises:
        UsageError: a column is missing, or there twice; or the columns are not separated by commas.
        SourceError: no text in UTF-8, or no table, or a row has more cells than there are columns.
    """
    samples = []
    drops = Drops()
    dataset = name_of(location).rpartition(".")[0] or name_of(location)
    for place, row in read_rows(location, needed=["path"], one_of=["age", "age_low", "gender"]):
        try:
            low, high = _ages(row)
            female = _gender(row)
            facts = {name: _number(name, row[name]) for name in _FACTS if row.get(name)}
            if not row["path"]:
                raise ValueError("the path is empty")
        except ValueError as error:
            drops.add(MALFORMED_ROW, f"{place}: {error}")
            continue
        if low is None and female is None:
            drops.add(WITHOUT_LABEL, place)
            continue
        samples.append(
            Sample(
                dataset=dataset,
                name=row["path"],
                read=FileReader(join(parent(location), row["path"])),
                age_low=low,
                age_high=high,
                female=female,
                race=row.get("race", ""),
                facts=facts,
            )
        )
    return Reading(samples, drops)


def read_rows(location: str, *, needed: Sequence[str], one_of: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each row of a csv file by column, cells without surrounding blanks, with its place: file and line.

    Args:
        location: the file, in UTF-8; a first line with the columns' names, in any case.
        needed: columns that must be there.
        one_of: columns of which at least one must be there.

    Raises:
        UsageError: a column is missing, or there twice; or the columns are not separated by commas.
        SourceError: no text in UTF-8, or no table, or a row has more cells than there are columns.
    """
    try:
        text = read_bytes(location).decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        raise SourceError(f"'{location}' is no text in UTF-8 ({error}): save it in that encoding") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)  # else an open quote swallows all that follows
    columns = [column.strip().lower() for column in next(lines, [])]
    while columns and not columns[-1]:  # as some spreadsheets write
        columns.pop()
    have = f"it has: {', '.join(columns)}" if columns else "its first line is empty"
    if len(columns) == 1 and (other := next((mark for mark in ";\t|" if mark in columns[0]), "")):
        raise UsageError(f"'{location}' separates its columns by {other!r}, and not by commas: save it with commas")
    if len(set(columns)) < len(columns):
        raise UsageError(f"'{location}' has a column twice: leave one of them out ({have})")
    for name in needed:
        if name not in columns:
            raise UsageError(f"'{location}' lacks the column '{name}'{did_you_mean(name, columns)} ({have})")
    if one_of and not set(one_of) & set(columns):
        raise UsageError(f"'{location}' lacks a column of labels: it needs {' or '.join(one_of)} ({have})")
    try:
        for cells in lines:
            if len(cells) > len(columns) and any(map(str.strip, cells[len(columns) :])):
                raise SourceError(
                    f"'{location}', line {lines.line_num}, has {len(cells)} cells for {len(columns)} columns: "
                    "put a cell with a comma in quotes, and a point before decimals"
                )
            if cells:
                padded = [*cells, *[""] * (len(columns) - len(cells))]
                yield f"{name_of(location)}, line {lines.line_num}", dict(zip(columns, map(str.strip, padded), strict=False))
    except csv.Error as error:
        raise SourceError(f"'{location}', line {lines.line_num}, is no row of a csv file: {error}") from error


def _ages(row: dict[str, str]) -> tuple[int, int] | tuple[None, None]:
    age, low, high = (math.floor(_number(name, row[name])) if row.get(name) else None for name in _AGES)
    if age is not None:
        return age, age
    if low is None and high is None:
        return None, None
    if low is None or high is None or low > high:
        raise ValueError(f"age_low '{row.get('age_low', '')}' and age_high '{row.get('age_high', '')}' are no bracket")
    return low, high


def _number(name: str, text: str) -> float:
    try:
        number = math.nan if "_" in text else float(text)  # Python's own way to write thousands
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} '{text}' is no number")
    return number


def _gender(row: dict[str, str]) -> bool | None:
    text = row.get("gender", "")
    if text and text.lower() not in GENDERS:
        raise ValueError(f"gender '{text}' is none of {', '.join(GENDERS)}")
    return GENDERS.get(text.lower())
