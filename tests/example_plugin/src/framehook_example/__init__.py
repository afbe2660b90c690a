"""A plugin as a stranger writes it: only public names of framehook, nothing of its source."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import click
import numpy as np
from pydantic import Field

from framehook import Detections, Event, Frame, FrameResult, Register, StreamInfo, hookimpl


class BrightDetector:
    """Find the bounding box of all bright pixels.

    Args:
        threshold: how bright, 0 to 255.
    """

    def __init__(self, *, threshold: Annotated[int, Field(ge=0, le=255)] = 128) -> None:
        self.threshold = threshold

    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Frame) -> Detections:
        rows, columns = np.nonzero(frame.image.mean(axis=2) >= self.threshold)
        if not len(rows):
            return Detections.empty(names=("bright",))
        return Detections(boxes=[[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], names=("bright",))


class EntryAnalyzer:
    """Tell when the first thing enters the left half of the picture."""

    def __init__(self) -> None:
        self.told = False

    def analyze(self, result: FrameResult) -> FrameResult:
        boxes = result.detections.boxes
        if self.told or not len(boxes) or boxes[:, 0].min() > result.frame.width / 2:
            return result
        self.told = True
        event = Event(kind="entered", seconds=result.frame.seconds, details={"side": "left"})
        return FrameResult(frame=result.frame, detections=result.detections, events=(*result.events, event))


class CountSink:
    """Write how many detections each stream had."""

    def __init__(self, *, path: Path = Path("counts.txt")) -> None:
        self.path = path
        self.counts: dict[str, int] = {}

    def open(self, stream: StreamInfo) -> None:
        self.counts[stream.name] = 0

    def write(self, result: FrameResult) -> None:
        self.counts[result.frame.stream.name] += len(result.detections)

    def close(self) -> None:
        self.path.write_text("".join(f"{name} {count}\n" for name, count in self.counts.items()))


@hookimpl
def framehook_register_detectors(register: Register) -> None:
    register("bright", BrightDetector)


@hookimpl
def framehook_register_analyzers(register: Register) -> None:
    register("entry", EntryAnalyzer)


@hookimpl
def framehook_register_sinks(register: Register) -> None:
    register("count", CountSink)


@hookimpl
def framehook_register_commands(cli: click.Group) -> None:
    @cli.command()
    def hello() -> None:
        """Greet from a plugin."""
        click.echo("hello from the example plugin")
