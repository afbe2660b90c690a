"""What a plugin must offer: Protocols of one to three methods, batch in and batch out, same length and same order."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Generic, Literal, Protocol, TypeAlias, TypeGuard, TypeVar, get_args, runtime_checkable

from framehook.detections import Detections
from framehook.frame import Frame, StreamInfo
from framehook.results import FrameResult, StreamStatistics

Contract = TypeVar("Contract")

Aggregate: TypeAlias = Literal["mean", "std", "vote", "probability", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One attribute that a classifier adds, and how the views of one track become one value.

    - `mean`: the weighted mean of the numbers seen.
    - `std`: of the column named by `of`, the standard deviation of the mixture of all views, each with the mean and the standard
      deviation that it reported: sqrt(E[std²] + Var[mean]).
    - `vote`: of words: the probabilities of all `categories` are averaged, and the likeliest is reported. A view gives its own
      word the probability in the column named by `of`, and shares out the rest evenly.
    - `probability`: the averaged probability of the word that the `vote` column named by `of` reports.
    - `last`: the latest value.

    Raises:
        ValueError: no name, an unknown aggregate, or one that lacks its `of` or its `categories`.
    """

    name: str
    """The attribute's name, and its heading in files."""
    aggregate: Aggregate = "last"
    """How a track's views become one value."""
    of: str = ""
    """The column that `std` and `probability` belong to; for `vote`, the column with its probability."""
    categories: tuple[str, ...] = ()
    """The words that a `vote` column may hold."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a column's name must be a word, got {self.name!r}")
        categories: object = self.categories
        if not isinstance(categories, Sequence) or isinstance(categories, str) or not all(isinstance(w, str) for w in categories):
            raise ValueError(f"column '{self.name}': categories must be a tuple of words, got {self.categories!r}")
        if self.aggregate not in get_args(Aggregate):
            raise ValueError(
                f"column '{self.name}': aggregate is one of {', '.join(get_args(Aggregate))}, got {self.aggregate!r}"
            )
        if self.aggregate in ("std", "probability") and not self.of:
            raise ValueError(f"column '{self.name}': '{self.aggregate}' needs of=…, the name of the column that it belongs to")
        if self.aggregate == "vote" and not self.categories:
            raise ValueError(f"column '{self.name}': 'vote' needs categories=…, such as ('yes', 'no'), got {self.categories!r}")


@runtime_checkable
class Source(Protocol):
    """Where frames come from."""

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Let go of files and devices; a second call is harmless.

        It may come from another thread while the loop over the frames waits for the next one, and should end that wait.
        """
        ...


@runtime_checkable
class DamageReporter(Protocol):
    """What a source may also offer: to tell what of it could not be read."""

    @property
    def damaged(self) -> int:
        """How many packets or frames were left out."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results should know, each in one line."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Finds things in frames.

    `Detections` copies the arrays that it is made of, so a detector may use its own again for the next frame.
    """

    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        """Return what is in each frame."""
        ...


@runtime_checkable
class Refiner(Protocol):
    """What a detector may also offer: to find again what was near these boxes a moment ago, at a fraction of the cost.

    Of a recording it is also asked what was near them a moment before, and of many frames at once, in any order.
    """

    def refine(self, frames: Sequence[Frame], near: Sequence[Detections]) -> Sequence[Detections]:
        """Return what is left of `near` in each frame, with new boxes and scores and the same tracks.

        These tell the things of one frame apart, and may be other numbers than those that the tracker gives.
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Gives the same id to the same thing from frame to frame. Each stream has its own.

    Ids are positive and rise: a new track's id is higher than that of every track before it, so none is used twice.
    """

    def update(self, frame: Frame, detections: Detections) -> Detections:
        """Return the same detections, in the same order, with their tracks."""
        ...

    def predict(self, frame: Frame) -> Detections:
        """Return where the known tracks should be in this frame."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Says more of what was found.

    Besides its columns it may add an attribute `quality`, 0 to 1: the weight of this view in its track. The engine uses it up:
    it does not reach the sinks. A detector's attribute of that name is another thing: classifiers are not shown it, sinks are.
    """

    columns: ClassVar[tuple[Column, ...]]

    def classify(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> Sequence[Detections]:
        """Return the same detections, in the same order, with the attributes that `columns` names."""
        ...


@runtime_checkable
class Analyzer(Protocol):
    """Sees every result of one stream in order. Each stream has its own."""

    def analyze(self, result: FrameResult) -> FrameResult:
        """Return the result, with attributes or events added."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes results somewhere. One sink serves all streams of a run."""

    def open(self, stream: StreamInfo) -> None:
        """Prepare for the results of a stream; called once for each, before its first."""
        ...

    def write(self, result: FrameResult) -> None:
        """Take one result; those of a stream come in order."""
        ...

    def close(self) -> None:
        """Finish everything; a second call is harmless."""
        ...


@runtime_checkable
class StreamSink(Sink, Protocol):
    """A sink that wants to know when a stream has ended: to finish that stream's files, or to write its statistics."""

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Finish what belongs to this stream; called once, after its last result."""
        ...


@runtime_checkable
class AmendingSink(StreamSink, Protocol):
    """A sink that vouches for the others' files, and may have to take it back."""

    def amend(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Correct what was said of a stream that has ended, perhaps after `close`: `statistics.lost_sinks` names more."""
        ...


def keeps(stage: object, protocol: type[Contract]) -> TypeGuard[Contract]:
    """Say whether an object has what a Protocol asks for. Attributes found through `__getattr__` count, for it may be a proxy.

    `isinstance` finds those up to Python 3.11 only. Properties are read, and may raise.
    """
    members = _members(protocol)  # type: ignore[arg-type]  # a class is hashable; mypy doubts it of a Protocol's
    return all(callable(getattr(stage, name, None)) if is_method else hasattr(stage, name) for name, is_method in members)


@cache
def _members(protocol: type) -> frozenset[tuple[str, bool]]:
    """Return the names that a Protocol asks for, and whether each is a method."""
    bases = [base for base in protocol.__mro__ if base not in (object, Generic, Protocol)]
    found = [(name, vars(base).get(name)) for base in bases for name in {*vars(base), *inspect.get_annotations(base)}]
    return frozenset((name, callable(what)) for name, what in found if name == "__iter__" or not name.startswith("_"))
