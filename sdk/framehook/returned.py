"""What plugins return, held against their contracts before anybody relies on it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from framehook.contracts import Column, Source
from framehook.detections import NO_TRACK, Detections
from framehook.frame import Frame, Picture, StreamInfo
from framehook.results import Event, FrameResult

_ROUNDING = 1e-3  # by how much a probability may miss 0 and 1


def info(source: Source) -> StreamInfo:
    """Return what a source says of its stream.

    Raises:
        ValueError: it is something else, or cannot be asked for.
    """
    try:
        given: object = source.info
    except Exception as error:
        raise ValueError(f"raised {type(error).__name__} when asked for its info: {error}") from error
    if not isinstance(given, StreamInfo):
        raise ValueError(f"gave {_kind(given)} for its info, wanted a StreamInfo")
    return given


def frames(source: Source) -> Iterator[Frame]:
    """Go through a source's frames.

    Raises:
        ValueError: something among them is no frame, or a frame of another stream, or has no picture or a number out of turn.
    """
    name = info(source).name
    last, pictures = -1, set()
    for given in source:
        if not isinstance(given, Frame):
            raise ValueError(f"gave {_kind(given)} for a frame, wanted a Frame; ArraySource makes frames of pictures")
        if given.stream.name != name:
            raise ValueError(f"gave a frame of the stream '{given.stream.name}', wanted one with stream=self.info, '{name}'")
        if type(given.picture) not in pictures and not isinstance(given.picture, Picture):
            raise ValueError(f"gave {_kind(given.picture)} for a frame's picture, wanted one with rgb() and scaled()")
        if given.index <= last:
            raise ValueError(f"gave frame {given.index} after frame {last}, wanted numbers that rise")
        pictures.add(type(given.picture))
        last = given.index
        yield given


def one_each(found: Sequence[Detections], *, frames: int) -> Sequence[Detections]:
    """Return what was found in each frame.

    Raises:
        ValueError: it is no sequence of `Detections`, or has another length.
    """
    if not isinstance(found, Sequence):
        raise ValueError(f"returned {_kind(found)}, wanted a list with Detections for each frame")
    if len(found) != frames:
        raise ValueError(f"returned {len(found)} results for {frames} frames, wanted one for each, in order")
    return [detections(each) for each in found]


def detections(given: Detections) -> Detections:
    """Return the detections of one frame.

    Raises:
        ValueError: they are something else, or have boxes that are no numbers or scores beyond 0 to 1.
    """
    if not isinstance(given, Detections):
        raise ValueError(f"returned {_kind(given)} for a frame, wanted Detections")
    if not np.isfinite(given.boxes).all():
        raise ValueError(f"returned the boxes {given.boxes.tolist()}, wanted finite numbers")
    if _beyond_shares(given.scores).any():
        raise ValueError(f"returned the scores {given.scores.tolist()}, wanted 0 to 1")
    return given


def found_again(after: Detections, before: Detections) -> Detections:
    """Return what a refiner has found of what was there.

    Raises:
        ValueError: something of it was not there before, or is there more often.
    """
    new = Counter(after.tracks.tolist()) - Counter(before.tracks.tolist())
    if new:
        raise ValueError(
            f"returned detections of the tracks {after.tracks.tolist()} for those of {before.tracks.tolist()}, "
            "wanted some of these, each once at most"
        )
    return after


def tracked(after: Detections, before: Detections) -> Detections:
    """Return the same detections with their tracks.

    Raises:
        ValueError: they are not the same ones, a track has two of them, or an id is neither positive nor -1.
    """
    ids = same_rows(after, before).tracks[after.tracks != NO_TRACK].tolist()
    if len(set(ids)) < len(ids) or any(track < 1 for track in ids):
        raise ValueError(f"returned the tracks {after.tracks.tolist()}, wanted positive ids, each once, and -1 for none")
    return after


def same_rows(after: Detections, before: Detections) -> Detections:
    """Return detections of which none may have been added or left out.

    Raises:
        ValueError: there are more or fewer, or they are something else.
    """
    if len(detections(after)) != len(before):
        raise ValueError(f"returned {len(after)} detections for {len(before)}, wanted the same in the same order")
    return after


def same_tracks(after: Detections, before: Detections) -> Detections:
    """Return detections of which none may have been added, left out or moved, nor have lost its track.

    Raises:
        ValueError: some are, or they are something else.
    """
    if not np.array_equal(same_rows(after, before).tracks, before.tracks):
        raise ValueError(
            f"returned detections of the tracks {after.tracks.tolist()} for those of {before.tracks.tolist()}, "
            "wanted the same in the same order, as with_attributes returns them"
        )
    return after


def with_columns(classified: Detections, columns: Sequence[Column]) -> Detections:
    """Return detections to which a classifier has added what it declares.

    Raises:
        ValueError: a column is missing, or it or the `quality` holds what it cannot.
    """
    given = classified.attributes
    missing = sorted({name for column in columns for name in (column.name, column.of) if name} - given.keys())
    if missing:
        raise ValueError(f"declared the columns {missing} and did not add them")
    for column in columns:
        _check_shape(column.name, given[column.name])
        if column.aggregate == "vote":
            for word in {*given[column.name].tolist()} - {*column.categories, ""}:
                raise ValueError(f"gave column '{column.name}' the value {word!r}, wanted one of {', '.join(column.categories)}")
            if column.of:
                _check_shares(column.of, given[column.of])
        elif column.aggregate == "probability":
            _check_shares(column.name, given[column.name])
        elif column.aggregate != "last":
            for name in filter(None, (column.name, column.of)):
                _check_numbers(name, given[name])
    if "quality" in given:
        _check_shares("quality", given["quality"])
    return classified


def _check_shape(name: str, values: NDArray[Any]) -> None:
    if values.ndim != 1:
        raise ValueError(f"gave column '{name}' the shape {values.shape}, wanted ({len(values)},)")


def _check_numbers(name: str, values: NDArray[Any]) -> None:
    _check_shape(name, values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"gave column '{name}' values of type {values.dtype}, wanted numbers")


def _check_shares(name: str, values: NDArray[Any]) -> None:
    _check_numbers(name, values)
    for value in values[_beyond_shares(values)].tolist():
        raise ValueError(f"gave column '{name}' the value {value:g}, wanted 0 to 1")


def _beyond_shares(values: NDArray[Any]) -> NDArray[np.bool_]:
    return (values < -_ROUNDING) | (values > 1 + _ROUNDING)  # NaN is neither: it says nothing


def result(given: FrameResult) -> FrameResult:
    """Return what an analyzer made of a result.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(given, FrameResult):
        raise ValueError(f"returned {_kind(given)}, wanted a FrameResult")
    if not isinstance(given.detections, Detections):
        raise ValueError(f"returned a FrameResult with {_kind(given.detections)} for its detections, wanted Detections")
    if not isinstance(given.events, tuple) or not all(isinstance(event, Event) for event in given.events):
        raise ValueError(f"returned a FrameResult with the events {given.events!r}, wanted a tuple of Event")
    for event in given.events:
        kind, seconds, track = cast("tuple[object, ...]", (event.kind, event.seconds, event.track))
        if not (isinstance(kind, str) and isinstance(seconds, Real) and isinstance(track, Integral)):
            raise ValueError(f"returned {event!r}, wanted a word for its kind, a number of seconds, and a track or -1")
    return given


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
