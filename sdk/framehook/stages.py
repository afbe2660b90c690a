"""Stages as a user gives them: by name, as a class, or as an object that keeps the Protocol."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from framehook.contracts import Analyzer, Classifier, Detector, Sink, Tracker
from framehook.errors import UsageError
from framehook.plugins import Kind, Plugins

_CONTRACTS: Mapping[Kind, tuple[type, str]] = {
    "detector": (Detector, "detect(frames)"),
    "tracker": (Tracker, "update(frame, detections) and predict(frame)"),
    "classifier": (Classifier, "columns and classify(frames, detections)"),
    "analyzer": (Analyzer, "analyze(result)"),
    "sink": (Sink, "open(stream), write(result) and close()"),
}
_ONE_PER_STREAM = ("tracker", "analyzer")


class StageMaker:
    """Makes the objects of one run out of what a user gave, and remembers what to call them.

    Args:
        plugins: where names are looked up.
        shared: options that plugins get where they declare them and the user did not set them.
    """

    def __init__(self, plugins: Plugins, shared: Mapping[str, Any]) -> None:
        self._plugins = plugins
        self._shared = shared
        self.names: dict[type, str] = {}

    def maker(self, kind: Kind, given: object) -> Callable[[], Any]:
        """Check a stage now, and return what makes its object.

        A name or a class makes a new object at each call. An object is handed out as it is, except that trackers and analyzers,
        of which each stream has its own, are copied as they were when the pipeline was made.

        Raises:
            UsageError: an unknown plugin or option, or an object that does not keep the kind's Protocol.
        """
        if isinstance(given, (str, Mapping)):
            make = self._plugins.maker(kind, given, shared=self._shared)
            name = given.partition(":")[0] if isinstance(given, str) else str(given["name"])
            return lambda: self._checked(kind, make(), name)
        if isinstance(given, type):
            return lambda: self._checked(kind, given(), given.__name__)
        self._checked(kind, given, type(given).__name__)
        if kind in _ONE_PER_STREAM:
            unused = copy.deepcopy(given)
            return lambda: copy.deepcopy(unused)
        return lambda: given

    def _checked(self, kind: Kind, made: object, name: str) -> object:
        protocol, methods = _CONTRACTS[kind]
        if not isinstance(made, protocol):
            raise UsageError(f"a {kind} is a plugin's name or an object with {methods}, got {name} of type {type(made).__name__}")
        self.names[type(made)] = name
        return made
