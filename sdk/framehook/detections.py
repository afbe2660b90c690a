"""What was found in one frame: arrays inside, rows at the edges."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

NO_TRACK = -1
"""The track id of a detection that belongs to no track."""

Rows: TypeAlias = NDArray[np.bool_] | NDArray[np.integer[Any]] | slice | Sequence[int] | Sequence[bool]


def is_missing(value: Any) -> bool:
    """Say whether one value of an attribute says nothing: a number that is not finite, or an empty string."""
    return not value if isinstance(value, str) else not np.isfinite(value)


@dataclass(frozen=True, slots=True)
class Detection:
    """One row of a `Detections`, in plain Python numbers but for attributes of several values."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels."""
    score: float
    """The detector's confidence, 0 to 1."""
    label: str
    """What it is, such as `face`."""
    track: int
    """The id of its track, -1 for none."""
    attributes: Mapping[str, Any]
    """This row of each attribute: a number, a string, or an array for attributes of several values."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Detections:
    """What was found in one frame: n boxes and, for each, a score, a label, a track and attributes.

    Arrays are copied when the record is made, converted to the types below and checked for length. They are read-only: every
    stage and every sink sees the same ones. `found.boxes * 2` makes an array that is yours to change.

    Raises:
        ValueError: an array whose shape does not fit, naming it with what was got and wanted.
    """

    boxes: NDArray[np.float32]
    """(n, 4) x1, y1, x2, y2 in pixels of the frame; x2 and y2 lie outside the box."""
    scores: NDArray[np.float32] = None  # type: ignore[assignment]  # filled in below
    """(n,) confidence, 0 to 1; 1 where not given."""
    labels: NDArray[np.int64] = None  # type: ignore[assignment]  # filled in below
    """(n,) index into `names`; 0 where not given."""
    tracks: NDArray[np.int64] = None  # type: ignore[assignment]  # filled in below
    """(n,) track ids, -1 for none."""
    names: tuple[str, ...] = ("face",)
    """The words for the labels."""
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Arrays of length n by name: numbers, or fixed-width strings; a missing float is NaN, a missing string is empty."""

    if TYPE_CHECKING:  # what it may be made of; the fields say what comes of that

        def __init__(
            self,
            *,
            boxes: ArrayLike,
            scores: ArrayLike | None = None,
            labels: ArrayLike | None = None,
            tracks: ArrayLike | None = None,
            names: Sequence[str] = ("face",),
            attributes: Mapping[str, ArrayLike] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        boxes = np.array(self.boxes, dtype=np.float32)
        if boxes.shape == (0,):
            boxes = boxes.reshape(0, 4)  # what a list of no boxes becomes
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must be (n, 4), got {boxes.shape}")
        n = len(boxes)
        columns = {
            "scores": _column("scores", self.scores, n, np.float32, 1.0),
            "labels": _column("labels", self.labels, n, np.int64, 0),
            "tracks": _column("tracks", self.tracks, n, np.int64, NO_TRACK),
        }
        names = _words(self.names)
        labels = columns["labels"]
        if n and not 0 <= int(labels.min()) <= int(labels.max()) < len(names):
            raise ValueError(f"labels must be 0 to {len(names) - 1} for names {names}, got {labels.tolist()}")
        attributes = {name: _attribute(name, values, n) for name, values in self.attributes.items()}
        object.__setattr__(self, "boxes", _read_only(boxes))
        for name, values in columns.items():
            object.__setattr__(self, name, values)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "attributes", MappingProxyType(attributes))

    @classmethod
    def empty(cls, *, names: tuple[str, ...] = ("face",)) -> "Detections":
        """Return the record of a frame in which nothing was found."""
        return cls(boxes=np.empty((0, 4), np.float32), names=names)

    @classmethod
    def concatenate(cls, parts: Sequence["Detections"]) -> "Detections":
        """Join records of the same attributes, in order. Labels go by their words; a record of nothing adds none.

        Raises:
            ValueError: parts that differ in which attributes they carry.
        """
        parts = [part for part in parts if len(part)] or parts[:1]
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        first = parts[0]
        for part in parts[1:]:
            if part.attributes.keys() != first.attributes.keys():
                raise ValueError(
                    "cannot concatenate detections of different kinds: "
                    f"one with the attributes {sorted(first.attributes)}, and one with {sorted(part.attributes)}"
                )
        names = tuple(dict.fromkeys(word for part in parts for word in part.names))
        return cls(
            boxes=np.concatenate([part.boxes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            labels=np.concatenate([_labels_among(names, part) for part in parts]),
            tracks=np.concatenate([part.tracks for part in parts]),
            names=names,
            attributes={name: np.concatenate([part.attributes[name] for part in parts]) for name in first.attributes},
        )

    def with_attributes(self, **attributes: ArrayLike) -> "Detections":
        """Return a copy with these attributes added or replaced, each of length n."""
        new = {name: _attribute(name, values, len(self)) for name, values in attributes.items()}
        return _changed(self, attributes=MappingProxyType({**self.attributes, **new}))

    def without_attributes(self, *names: str) -> "Detections":
        """Return a copy without these attributes; a name that is not there is passed over."""
        kept = {name: values for name, values in self.attributes.items() if name not in names}
        return _changed(self, attributes=MappingProxyType(kept))

    def with_tracks(self, tracks: ArrayLike) -> "Detections":
        """Return a copy with these track ids, (n,), -1 for none."""
        return _changed(self, tracks=_column("tracks", tracks, len(self), np.int64, NO_TRACK))

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], "Detections"], tuple[dict[str, Any]]]:
        # A read-only mapping can be neither pickled nor copied: the record is made anew from its fields.
        values = {name: getattr(self, name) for name in _FIELDS}
        return _make, ({**values, "attributes": dict(self.attributes)},)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: Rows) -> "Detections":
        """Select rows by mask, slice or indices."""
        if isinstance(rows, (int, np.integer)):
            raise TypeError("select rows with a mask, a slice or a list of indices; for one row: list(detections)[i]")
        index = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(index, np.ndarray) and not index.size:
            index = index.astype(np.int64)  # an empty list is float64 to numpy, and no index
        return _changed(
            self,
            boxes=_read_only(self.boxes[index]),
            scores=_read_only(self.scores[index]),
            labels=_read_only(self.labels[index]),
            tracks=_read_only(self.tracks[index]),
            attributes=MappingProxyType({name: _read_only(values[index]) for name, values in self.attributes.items()}),
        )

    def __iter__(self) -> Iterator[Detection]:
        for i, (x1, y1, x2, y2) in enumerate(self.boxes.tolist()):
            yield Detection(
                box=(x1, y1, x2, y2),
                score=float(self.scores[i]),
                label=self.names[self.labels[i]],
                track=int(self.tracks[i]),
                attributes={name: _plain(values[i]) for name, values in self.attributes.items()},
            )

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in self.attributes.items())
        return f"Detections({len(self)} of {self.names}, attributes: {shapes or 'none'})"


_FIELDS = tuple(each.name for each in fields(Detections))


def _make(values: dict[str, Any]) -> Detections:
    return Detections(**values)


def _changed(before: Detections, **changes: Any) -> Detections:
    """Return a copy with other parts, which were checked: a pipeline makes a dozen for each frame."""
    made = object.__new__(Detections)
    for name in _FIELDS:
        object.__setattr__(made, name, changes[name] if name in changes else getattr(before, name))
    return made


def _labels_among(names: tuple[str, ...], found: Detections) -> NDArray[np.int64]:
    if found.names == names:
        return found.labels
    return np.array([names.index(word) for word in found.names], np.int64)[found.labels]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _words(names: Sequence[str] | NDArray[np.str_]) -> tuple[str, ...]:
    if isinstance(names, tuple) and all(isinstance(word, str) for word in names):
        return names
    if isinstance(names, str) or not isinstance(names, (Sequence, np.ndarray)):
        raise ValueError(f"names must be a tuple of words, such as ('face', 'person'), got {names!r}")
    words = tuple(names.tolist() if isinstance(names, np.ndarray) else names)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"names must be a tuple of words, such as ('face', 'person'), got {names!r}")
    return words


def _column(name: str, values: ArrayLike | None, n: int, dtype: type[np.generic], missing: float) -> NDArray[Any]:
    given = np.full(n, missing, dtype) if values is None else np.asarray(values)
    array = np.array(given, dtype=dtype)
    if dtype is np.int64 and given.dtype.kind == "f" and not np.array_equal(array, given):
        raise ValueError(f"{name} must be whole numbers, got {given.tolist()}")
    if array.shape != (n,):
        raise ValueError(f"{name} must be ({n},) like the boxes, got {array.shape}")
    return _read_only(array)


def _attribute(name: str, values: ArrayLike, n: int) -> NDArray[Any]:
    array = np.array(values)
    if array.dtype.kind == "T":  # numpy's strings of variable width, which nothing else reads
        array = np.array(array.tolist(), np.str_)
    if array.ndim == 0 or len(array) != n:
        raise ValueError(f"attribute '{name}' must have length {n} like the boxes, got shape {array.shape}")
    if array.dtype.kind not in "fiubU":
        got = "objects" if array.dtype == object else f"type {array.dtype}"
        raise ValueError(f"attribute '{name}' must be numbers or strings, got an array of {got}")
    return _read_only(array)


def _plain(value: Any) -> Any:
    """Turn a numpy scalar into the Python number or string it holds; leave arrays as they are."""
    return value.item() if isinstance(value, np.generic) else value
