"""How a batch of frames goes through one step after another, and what becomes of it where a plugin fails."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from framehook.detections import Detections
from framehook.errors import FramehookError, SourceError, StageError
from framehook.frame import Frame
from framehook.results import Event, FrameResult
from framehook.stages import Stages
from framehook.stream_state import StreamState

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Item:
    """One frame on its way; each step fills in what the ones after it read."""

    state: StreamState
    """Of its stream."""
    frame: Frame
    place: int
    """In the batch."""
    number: int
    """Among the stream's processed frames."""
    detect: bool
    """Whether it is detected on."""
    cut: bool = False
    """Whether its picture is another one than that before."""
    near: Detections = field(default_factory=Detections.empty)
    """What is to be found again."""
    lost: bool = False
    """Whether something of it is no longer there."""
    detections: Detections = field(default_factory=Detections.empty)
    """What is in it, as far as is known."""
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Those of the detections that are to be classified."""
    views: Detections = field(default_factory=Detections.empty)
    """These detections, as a classifier sees and returns them."""
    events: tuple[Event, ...] = ()
    """What happened to the source, and what analyzers noticed."""

    def result(self) -> FrameResult:
        """Return what is known of the frame."""
        return FrameResult(frame=self.frame, detections=self.detections, events=self.events)


class Step(NamedTuple):
    """One thing that is done to frames."""

    do: Callable[[list[Item]], None]
    batched: bool
    """Whether it takes frames together, and may be asked again about one of them where it fails."""


class CallError(Exception):
    """Carries the name of the plugin, and how many frames it was asked about; what it raised is the cause."""

    def __init__(self, plugin: str, frames: int) -> None:
        super().__init__(plugin)
        self.frames = frames


def ask(stages: Stages, plugin: object, stage: str, items: list[Item], call: Callable[[], _Result]) -> _Result:
    """Call into a plugin, on the clock of the streams whose frames it works on.

    Raises:
        CallError: it raised, or the call found what it returned to be wrong.
    """
    start = time.perf_counter()
    try:
        return call()
    except (Exception, SystemExit) as error:  # a plugin's sys.exit() ends neither the program nor, in silence, its thread
        raise CallError(stages.name(plugin), len(items)) from error
    finally:
        share = (time.perf_counter() - start) / len(items)
        for item in items:
            item.state.counters.spend(stage, share)


class Outcome(NamedTuple):
    """What became of a step."""

    good: int
    """How many items it was done to."""
    error: StageError | None = None
    """Why it failed for the next one."""
    of_batch: CallError | None = None
    """Why a plugin could not do for all at once what it then did frame by frame."""


def attempt(step: Step, items: list[Item]) -> Outcome:
    """Run a step, frame by frame where it keeps state, or to find which frame of a batch a plugin failed on."""
    of_batch: CallError | None = None
    if step.batched:
        try:
            step.do(items)
            return Outcome(len(items))
        except CallError as failure:
            if len(items) == 1:
                return Outcome(0, _stage_error(items[0].frame, failure))
            of_batch = failure
    for i, item in enumerate(items):
        try:
            step.do([item])
        except CallError as failure:
            return Outcome(i, _stage_error(item.frame, failure))
    return Outcome(len(items), of_batch=of_batch)


def _stage_error(frame: Frame, failure: CallError) -> StageError:
    cause = failure.__cause__
    where = f"frame {frame.index} ({frame.seconds:.3f} s) of stream '{frame.stream.name}'"
    what = str(cause) if isinstance(cause, FramehookError) else f"{type(cause).__name__}: {cause}"
    # A picture that cannot be converted is told by whoever first looks at it, and is not that plugin's fault.
    error = StageError(what if isinstance(cause, SourceError) else f"plugin '{failure}' failed on {where}: {what}")
    error.__cause__ = cause
    return error
