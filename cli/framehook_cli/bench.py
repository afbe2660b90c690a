"""`framehook bench`: how fast this machine is, on the demo's clip or one's own."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from framehook import Detections, Frame, Pipeline, Plugins, StreamStatistics, UsageError
from framehook_cli.demo import make_clip
from framehook_cli.doctor import examine
from framehook_cli.outputs import begun, verbosity


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How one way through the clip went."""

    what: str
    """What was done to the frames."""
    statistics: StreamStatistics
    """How it went."""

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.statistics.processed / self.statistics.seconds

    def numbers(self) -> dict[str, Any]:
        """Return what a program would read."""
        frames = self.statistics.processed
        stages = {stage: round(1e3 * seconds / frames, 3) for stage, seconds in self.statistics.stage_seconds.items()}
        overhead = self.statistics.overhead
        return {
            "frames_per_second": round(self.rate, 1),
            "milliseconds_per_frame": stages,
            "overhead": None if overhead is None else round(overhead, 3),
        }


@click.command()
@click.argument("source", required=False)
@click.option("--detector", default="mtcnn", metavar="NAME[:OPTIONS]", show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, help="Of the source.")
@verbosity
@click.pass_obj
def bench(
    installed: Plugins,
    source: str | None,
    detector: str,
    device: str,
    seconds: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Time decoding, detection and the whole pipeline on this machine.

    SOURCE is a video; without one it is the demo's clip: 640 x 480, one face. Each way is taken twice, and the second counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        clip = source or str(make_clip(Path(folder) / "grace-hopper.mp4"))
        shared: dict[str, Any] = {"detector": detector, "device": device, "end": seconds, "plugins": installed}
        ways = [
            ("decode only", Pipeline(**shared | {"detector": _Nothing(), "tracker": None}, classifiers=[])),
            ("detect on every frame", Pipeline(**shared, classifiers=[], detect_every=1)),
            ("detect and follow", Pipeline(**shared, classifiers=[])),
            ("whole pipeline", Pipeline(**shared, sinks=["csv", "jsonl"], out=Path(folder))),
        ]
        timed = []
        for what, pipeline in ways:
            _pass(pipeline, clip)
            timed.append(Timed(what=what, statistics=_pass(pipeline, clip)))
            if not (quiet or as_json):
                _tell(timed[-1])
    if as_json:
        answer = {"machine": examine(installed)["machine"], "runs": {one.what: one.numbers() for one in timed}}
        click.echo(json.dumps(answer, indent=2))


class _Nothing:
    """A detector that looks at no picture."""

    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        """Find nothing."""
        return [Detections.empty()] * len(frames)


def _pass(pipeline: Pipeline, clip: str) -> StreamStatistics:
    specs = pipeline.open_sources(clip)
    if len(specs) != 1:
        raise UsageError(f"the benchmark wants one video, got {len(specs)}: {clip}")
    with begun(), pipeline.run(specs) as run:
        for _ in run:
            pass
    [statistics] = run.statistics.values()
    if not statistics.processed:
        raise UsageError(f"'{clip}' has no frame to time")
    return statistics


def _tell(timed: Timed) -> None:
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in timed.numbers()["milliseconds_per_frame"].items())
    click.echo(f"{timed.what:22} {timed.rate:8.1f} frames/s   ms a frame: {stages}")
