"""The hooks that a plugin may implement. Registration hooks run at start-up and hand over factories."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:  # the command line looks for hooks before it knows whether numpy will be wanted
    import click

    from framehook.frame import StreamInfo
    from framehook.results import StreamStatistics

hookspec = pluggy.HookspecMarker("framehook")
hookimpl = pluggy.HookimplMarker("framehook")
"""Marks a plugin's implementation of a hook: `@framehook.hookimpl`."""


class Register(Protocol):
    """What a registration hook is given: call it once for each plugin on offer."""

    def __call__(self, name: str, factory: Callable[..., Any]) -> None:
        """Offer a class whose keyword-only, typed, defaulted parameters are its options."""
        ...


@hookspec
def framehook_register_sources(register: Register) -> None:
    """Offer sources; a source `name` answers addresses that begin with `name://`."""


@hookspec
def framehook_register_detectors(register: Register) -> None:
    """Offer detectors."""


@hookspec
def framehook_register_trackers(register: Register) -> None:
    """Offer trackers."""


@hookspec
def framehook_register_classifiers(register: Register) -> None:
    """Offer classifiers."""


@hookspec
def framehook_register_analyzers(register: Register) -> None:
    """Offer analyzers."""


@hookspec
def framehook_register_sinks(register: Register) -> None:
    """Offer sinks."""


@hookspec
def framehook_register_commands(cli: "click.Group") -> None:
    """Add commands to the command line: `@cli.command()`."""


@hookspec
def framehook_stream_started(stream: "StreamInfo") -> None:
    """Hear that a stream's first result is about to reach the sinks."""


@hookspec
def framehook_stream_ended(stream: "StreamInfo", statistics: "StreamStatistics") -> None:
    """Hear that a stream has ended, after its last result has been written."""
