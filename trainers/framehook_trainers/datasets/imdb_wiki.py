"""IMDB-WIKI: faces of IMDb and Wikipedia with dates of birth (Rothe, Timofte and Van Gool, IJCV 2018). For research only."""

import io
import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framehook import SourceError, SourceNotFoundError, UsageError
from framehook_trainers.datasets.samples import MALFORMED_ROW, WITHOUT_LABEL, Drops, Reading, Sample
from framehook_trainers.datasets.storage import FileReader, join, list_files, name_of, parent, read_bytes

STRUCTS = ("imdb", "wiki")
"""The variable that the `.mat` file holds: it names the set."""
LICENCE = "IMDB-WIKI: academic research purposes only"
FIELDS = ("dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score")

_MATLAB_DAYS = 366  # Matlab counts days from the first of January of the year 0, Python from that of the year 1


def read(location: str) -> Reading:
    """Return the pictures that the metadata names, which lie in folders beside it.

    The age is that in the middle of the year in which the photograph was taken, as the set's authors compute it. Gender is
    1 for male here, 0 for female, and NaN where it is unknown.

    Args:
        location: `wiki.mat` or `imdb.mat`, or the folder with one of them.

    Raises:
        UsageError: a field is missing, or as long as no other; or there are two sets.
        SourceError: no `.mat` file that scipy can read.
    """
    path = location if location.endswith(".mat") else _only_mat(location)
    dataset, fields = _load(path)
    births, years, paths, genders, scores, seconds = (fields[name] for name in FIELDS)
    samples = []
    drops = Drops()
    for i, (birth, year, file, gender) in enumerate(zip(births, years, paths, genders, strict=True), start=1):
        place = f"{name_of(path)}, entry {i}"
        if not isinstance(file, str) or not file or (gender not in (0, 1) and not np.isnan(gender)):
            drops.add(MALFORMED_ROW, f"{place}: full_path '{file}', gender {gender}")
            continue
        age = age_at_mid_year(birth, year)
        if age is None and np.isnan(gender):
            drops.add(WITHOUT_LABEL, f"{place}: {file}")
            continue
        samples.append(
            Sample(
                dataset=dataset,
                name=file,
                read=FileReader(join(parent(path), file)),
                age_low=age,
                age_high=age,
                female=None if np.isnan(gender) else bool(gender == 0),
                facts={"face_score": float(scores[i - 1]), "second_face_score": float(seconds[i - 1])},
            )
        )
    return Reading(samples, drops)


def age_at_mid_year(birth: float, year: float) -> int | None:
    """Return the age in whole years at the middle of a year, below 0 before the birth; None where a number is missing.

    Args:
        birth: Matlab's number of the day of birth: 1 is the first of January of the year 0.
        year: of the photograph.
    """
    if not (math.isfinite(birth) and math.isfinite(year)):
        return None
    born = date.fromordinal(min(max(int(birth) - _MATLAB_DAYS, 1), date.max.toordinal()))
    return int(year) - born.year - (born.month > 6)


def _only_mat(folder: str) -> str:
    found = [name for name in list_files(folder) if name in {f"{struct}.mat" for struct in STRUCTS}]
    if len(found) != 1:
        raise SourceNotFoundError(f"'{folder}' has {len(found)} files of metadata, want one: name wiki.mat or imdb.mat itself")
    return join(folder, found[0])


def _load(path: str) -> tuple[str, Mapping[str, NDArray[Any]]]:
    """Return the name of the struct, and its fields, each (n,)."""
    from scipy.io import loadmat

    data = read_bytes(path)
    try:
        variables = loadmat(io.BytesIO(data), variable_names=STRUCTS, squeeze_me=True, struct_as_record=True)
    except Exception as error:  # scipy raises what its parser stumbles upon: ValueError, TypeError, zlib.error, …
        raise SourceError(
            f"'{path}' cannot be read as a Matlab file of version 4 to 7.2, as save -v7 writes them: {error}"
        ) from error
    there = [name for name in STRUCTS if name in variables]
    if not there:
        raise UsageError(f"'{path}' lacks the struct 'imdb' or 'wiki': it is no metadata of IMDB-WIKI")
    if len(there) > 1:
        raise UsageError(f"'{path}' has the structs {' and '.join(there)}, want one: save each in a file of its own")
    (name,) = there
    struct = variables[name]
    have: Sequence[str] = struct.dtype.names or ()
    missing = [field for field in FIELDS if field not in have]
    if missing:
        raise UsageError(f"'{path}' lacks the field '{missing[0]}' in '{name}' (it has: {', '.join(have) or 'none'})")
    fields = {field: _list_of(struct, field, path) for field in FIELDS}
    lengths = {field: len(values) for field, values in fields.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"'{path}' has fields of different lengths in '{name}': {lengths}")
    return name, fields


def _list_of(struct: NDArray[Any], field: str, path: str) -> NDArray[Any]:
    """Return a field's values, (n,): numbers but for the paths."""
    try:
        values = np.atleast_1d(struct[field].item())
        if values.ndim > 1:
            raise ValueError(f"its shape is {values.shape}")
        return values if field == "full_path" else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        kind = "paths" if field == "full_path" else "numbers"
        raise UsageError(f"'{path}' has no list of {kind} in the field '{field}': {error}") from error
