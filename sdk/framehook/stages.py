"""Stages: as a user gives them, by name, as a class, or as an object that keeps the Protocol; and as a run asks them."""

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framehook.contracts import Analyzer, Classifier, Column, Detector, Sink, Tracker, keeps
from framehook.errors import UsageError
from framehook.options import parse_spec
from framehook.plugins import Kind, Plugins, made

_CONTRACTS: Mapping[Kind, tuple[type, str]] = {
    "detector": (Detector, "detect(frames)"),
    "tracker": (Tracker, "update(frame, detections) and predict(frame)"),
    "classifier": (Classifier, "columns and classify(frames, detections)"),
    "analyzer": (Analyzer, "analyze(result)"),
    "sink": (Sink, "open(stream), write(result) and close()"),
}
_ONE_PER_STREAM = ("tracker", "analyzer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The objects that do the work, and how often they are asked."""

    detector: Detector
    """Shared by all streams."""
    make_tracker: Callable[[], Tracker] | None
    """Called once for each stream; None leaves tracks at -1."""
    classifiers: Sequence[Classifier]
    """Shared by all streams."""
    make_analyzers: Sequence[Callable[[], Analyzer]]
    """Each called once for each stream."""
    names: Mapping[type, Sequence[str]]
    """What the objects of each class are called in messages: several names where it was asked for by several."""
    detect_every: int | None = 1
    """Detect on every n-th frame, and follow in between; None chooses by the frames' times where the detector is a `Refiner`."""
    classify_every: int | None = None
    """Frames between two looks at a track that is known; None chooses from the frame rate."""

    def name(self, stage: object) -> str:
        """Return what to call a stage in messages."""
        return " or ".join(self.names.get(type(stage), [type(stage).__name__]))


def check_columns(stages: Stages) -> None:
    """Check that the classifiers' columns go together.

    Raises:
        UsageError: two give the same column, or a `probability` belongs to none of its classifier's `vote` columns.
    """
    givers: dict[str, str] = {}
    for classifier in stages.classifiers:
        name = stages.name(classifier)
        if not isinstance(classifier.columns, Sequence) or not all(isinstance(column, Column) for column in classifier.columns):
            raise UsageError(f"classifier '{name}': columns must be a tuple of Column, got {classifier.columns!r}")
        votes = [column.name for column in classifier.columns if column.aggregate == "vote"]
        for column in classifier.columns:
            if sum(other.name == column.name for other in classifier.columns) > 1:
                raise UsageError(f"classifier '{name}' gives the column '{column.name}' twice: give each a name of its own")
            if column.name in givers:
                raise UsageError(
                    f"column '{column.name}' comes from classifier '{givers[column.name]}' and from '{name}': use one of them"
                )
            if column.aggregate == "probability" and column.of not in votes:
                raise UsageError(
                    f"classifier '{name}': column '{column.name}' is the probability of '{column.of}', "
                    f"wanted the name of one of its 'vote' columns ({', '.join(votes) or 'it has none'})"
                )
            givers[column.name] = name


class StageMaker:
    """Makes the objects of one run out of what a user gave, and remembers what to call them.

    Args:
        plugins: where names are looked up.
        shared: options that plugins get where they declare them and the user did not set them.
    """

    def __init__(self, plugins: Plugins, shared: Mapping[str, Any]) -> None:
        self._plugins = plugins
        self._shared = shared
        self.names: dict[type, list[str]] = {}

    def maker(self, kind: Kind, given: object) -> Callable[[], Any]:
        """Check a stage now, and return what makes its object.

        A name or a class makes a new object at each call. An object is handed out as it is, except that trackers and analyzers,
        of which each stream has its own, are copied as they were when the pipeline was made.

        Raises:
            UsageError: an unknown plugin or option, or an object that does not keep the kind's Protocol.
        """
        if isinstance(given, (str, Mapping)):
            make = self._plugins.maker(kind, given, shared=self._shared)
            name, _ = parse_spec(given)
            return lambda: self._checked(kind, make(), name)
        if isinstance(given, type):
            return lambda: self._checked(kind, made(given.__name__, given), given.__name__)
        self._checked(kind, given, type(given).__name__)
        if kind in _ONE_PER_STREAM:
            unused = _copy_of(kind, given)
            return lambda: copy.deepcopy(unused)
        return lambda: given

    def _checked(self, kind: Kind, stage: object, name: str) -> object:
        protocol, methods = _CONTRACTS[kind]
        if not made(name, lambda: keeps(stage, protocol)):  # which looks at properties, too, and these may raise
            article = "an" if kind.startswith("a") else "a"
            got = f"{name} of type {type(stage).__name__}"
            raise UsageError(f"{article} {kind} is a plugin's name or an object with {methods}, got {got}")
        for method in re.findall(r"(\w+)\(", methods):
            if inspect.iscoroutinefunction(getattr(stage, method)):
                raise UsageError(f"{kind} '{name}': nobody would wait for its `async def {method}`; write it with def")
        names = self.names.setdefault(type(stage), [])
        if name not in names:
            names.append(name)
        return stage


def _copy_of(kind: Kind, given: object) -> object:
    try:
        return copy.deepcopy(given)
    except Exception as error:  # such as a lock or a socket in it
        reason = f"each stream needs one of its own, and this one cannot be copied ({error})"
        raise UsageError(f"{kind} {type(given).__name__}: {reason}; give the class instead") from error
