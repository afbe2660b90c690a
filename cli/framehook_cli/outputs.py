"""What every long command shares: how much it says, and where."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from framehook import FrameResult, OutputError, RunError, StreamInfo, UsageError

_LINE_EVERY_SECONDS = 5.0
_NEARLY_SECONDS = 0.5  # the last frame starts before the end
Command = TypeVar("Command", bound=Callable[..., Any])


quiet_option = click.option("--quiet", is_flag=True, help="No progress and no summary: errors only.")
# What it asks for happens in main.py, before and after the command.
verbose_option = click.option("--verbose", is_flag=True, expose_value=False, help="Say more, and show where errors come from.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON on standard output.")


def verbosity(command: Command) -> Command:
    """Give a command `--quiet`, `--verbose` and `--json`."""
    return quiet_option(verbose_option(json_option(command)))


@contextmanager
def begun() -> Iterator[None]:
    """Have whatever goes wrong from here on end the command as a run that failed, with 1: what was asked for was begun."""
    try:
        yield
    except UsageError as error:  # such as an OutputError, where the disk is full
        raise RunError(str(error)) from error


def counted(n: int, thing: str) -> str:
    """Return `1 track` or `2 tracks`."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def check_writable(place: Path, *, kind: Literal["file", "folder"] = "folder", option: str = "--out") -> None:
    """Say now what would else be said after the work.

    Args:
        place: where something is to be written, there or not.
        kind: what it is to be.
        option: what the place was given by.

    Raises:
        OutputError: it cannot be made, or is there and cannot be written.
    """
    advice = f"choose another {option}"
    try:
        existing = next(each for each in (place.absolute(), *place.absolute().parents) if each.exists())
        is_there = existing == place.absolute()
    except OSError as error:
        raise OutputError(f"cannot write '{place}': {error.strerror}; {advice}") from error
    if existing.is_dir() is (is_there and kind == "file"):
        raise OutputError(f"cannot write '{place}': '{existing}' is a {'folder' if existing.is_dir() else 'file'}; {advice}")
    if not os.access(existing, os.W_OK):
        where = f"in '{existing}'" if existing.is_dir() else "into it"
        raise OutputError(f"cannot write '{place}': no permission to write {where}; {advice}")


class Meter:
    """Shows how far each stream is: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, *, start: float, end: float | None, bar: Progress | None) -> None:
        self._start = start
        self._end = end
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._ends: dict[str, tuple[float, float]] = {}  # of each recording that has a bar: where it ends, and where it is
        self._frames: dict[str, int] = {}
        self._firsts: dict[str, float] = {}  # time of each stream's first result
        self._said: float | None = None  # the first line comes some seconds after the first result: models take their time
        self._began = time.monotonic()

    def advance(self, result: FrameResult) -> None:
        """Take in one result."""
        stream, seconds = result.frame.stream, result.frame.seconds
        self._frames[stream.name] = self._frames.get(stream.name, 0) + 1
        first = self._firsts.setdefault(stream.name, seconds)
        end = self._end_of(stream)
        if self._bar is not None:
            if stream.name not in self._tasks:
                self._take_down_finished(self._bar)
                total = None if end is None else max(end - first, 0.0)
                self._tasks[stream.name] = self._bar.add_task(stream.name, total=total, frames=0, rate=0.0)
            if stream.name in self._ends or self._frames[stream.name] == 1:
                still = stream.frames == 1 and stream.rate is None
                self._ends[stream.name] = (seconds if still else math.inf if end is None else end, seconds)
            self._bar.update(
                self._tasks[stream.name], completed=seconds - first, frames=self._frames[stream.name], rate=self._rate()
            )
            return
        now = time.monotonic()
        self._said = now if self._said is None else self._said
        if now - self._said > _LINE_EVERY_SECONDS:
            self._said = now
            of = f" of {end:.1f}" if end is not None and seconds <= end else ""
            frames = counted(self._frames[stream.name], "frame")
            click.echo(f"{stream.name}: at {seconds:.1f}{of} s, {frames}, {self._rate():.1f} frames/s", err=True)

    def _take_down_finished(self, bar: Progress) -> None:
        """Make room: a folder's files come one after another, and a terminal has few lines."""
        for name, (end, seconds) in list(self._ends.items()):
            if seconds >= end - _NEARLY_SECONDS:
                bar.remove_task(self._tasks[name])
                del self._ends[name]

    def _rate(self) -> float:
        """Return the frames a second of all streams together."""
        return sum(self._frames.values()) / max(time.monotonic() - self._began, 1e-9)

    def _end_of(self, stream: StreamInfo) -> float | None:
        """Return the time at which the stream's analysis ends, where that is known."""
        begins = 0.0 if self._start else self._firsts[stream.name]  # the clock of a broadcast begins anywhere
        stated = None if stream.duration_seconds is None else begins + stream.duration_seconds
        return min((end for end in (stated, self._end) if end is not None), default=None)


@contextmanager
def meter(*, quiet: bool, start: float = 0.0, end: float | None = None) -> Iterator[Callable[[FrameResult], None]]:
    """Yield what to call with every result, to show the progress."""
    if quiet:
        yield lambda result: None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[frames]} frames  {task.fields[rate]:.1f} frames/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield Meter(start=start, end=end, bar=bar).advance
    else:
        yield Meter(start=start, end=end, bar=None).advance


class WorkMeter:
    """Shows how far each step of some work is: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, *, bar: Progress | None) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._said = time.monotonic()

    def advance(self, what: str, done: int, total: int) -> None:
        """Take in how much of a step is done."""
        now = time.monotonic()
        began, first = self._began.setdefault(what, (now, done))  # a step that is resumed starts in its middle
        rate = (done - first) / max(now - began, 1e-9)
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total, rate=0.0)
            self._bar.update(self._tasks[what], completed=done, rate=rate)
        elif now - self._said > _LINE_EVERY_SECONDS:
            self._said = now
            click.echo(f"{what}: {done} of {total}, {rate:.0f}/s", err=True)


@contextmanager
def work_meter(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what to call with a step's name, how much of it is done, and of how much, to show the progress.

    With its first call the work has begun (`begun`).
    """
    at_work = False
    with ExitStack() as working, _shown(quiet=quiet) as show:

        def tell(what: str, done: int, total: int) -> None:
            nonlocal at_work
            if not at_work:
                working.enter_context(begun())
            at_work = True
            show(what, done, total)

        yield tell


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed} of {task.total}  {task.fields[rate]:.0f}/s"),
            TimeRemainingColumn(),
        )
        # What is printed meanwhile goes above the bar on a terminal, and to where it belongs elsewhere.
        redirect = sys.stdout.isatty()
        with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=redirect) as bar:
            yield WorkMeter(bar=bar).advance
    else:
        yield WorkMeter(bar=None).advance
