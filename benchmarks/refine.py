"""Compare following faces between detections with detecting them on every frame.

    python benchmarks/refine.py [FOLDER OF CLIPS] [--every 1 2 5 10 0 -1]

The pipeline, without classifiers, runs over each clip with detection on every frame: what it finds there is the reference. Then
with detection on every n-th frame (0: as often as the pipeline chooses by itself; -1: as often as it does in a live stream,
where nothing waits for later frames): what share of the reference's faces is found again (IoU of at least 0.5), how well the
boxes agree, how often a person's track changes, and how much faster it is. On which frames a detection falls is chance and
moves recall by half a point: so each clip is run from its first frame, its second, and so on. A clip's runs share a detector,
which is warm before they are timed. Writes results/refine.json beside this file, and fails where detection on every 5th frame,
or as chosen, finds less than 97 %.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
from numpy.typing import NDArray

from framehook import NO_TRACK, FrameResult, Pipeline, VideoSource, geometry
from framehook_plugins.mtcnn.detector import MtcnnDetector

HERE = Path(__file__).resolve().parent
WORK = ("detect", "refine", "track")
CHOSEN, LIVE = 0, -1  # stand for detect_every=None
FLOOR = {5: 0.97, CHOSEN: 0.97, LIVE: 0.97}
STARTS = 5


@dataclass
class Comparison:
    """How two runs over the same frames agree."""

    found: list[float] = field(default_factory=list)
    """Of each face of the reference: the largest IoU with a face of the other run, 0 where there is none."""
    others: int = 0
    """Faces of the other run that are none of the reference's."""
    switches: int = 0
    """How often the other run's track changes along a track of the reference."""

    def add(self, reference: list[FrameResult], other: list[FrameResult]) -> None:
        """Compare the frames of a clip."""
        track_of: dict[int, int] = {}
        for wanted, got in ((one.detections, two.detections) for one, two in zip(reference, other, strict=True)):
            overlap = geometry.iou(wanted.boxes, got.boxes)
            best = overlap.max(axis=1, initial=0)
            self.found += best.tolist()
            self.others += int((overlap.max(axis=0, initial=0) < 0.5).sum())
            for row in np.flatnonzero((best >= 0.5) & (wanted.tracks != NO_TRACK)):
                person, track = int(wanted.tracks[row]), int(got.tracks[overlap[row].argmax()])
                if track != NO_TRACK:
                    self.switches += track_of.setdefault(person, track) != track
                    track_of[person] = track

    def report(self) -> dict[str, Any]:
        """Return the numbers."""
        ious: NDArray[np.float64] = np.array(self.found)
        hits = ious[ious >= 0.5]
        return {
            "faces": len(ious),
            "recall": round(len(hits) / max(len(ious), 1), 4),
            "median_iou": round(float(np.median(hits)), 4) if len(hits) else None,
            "iou_5th_percentile": round(float(np.percentile(hits, 5)), 4) if len(hits) else None,
            "not_in_reference": self.others,
            "track_switches": self.switches,
        }


class Analysed(NamedTuple):
    """A run over a clip."""

    results: list[FrameResult]
    seconds: float
    """That finding and following took."""


def detector_for(clip: Path) -> MtcnnDetector:
    """Return a detector that looks for faces of 20 pixels, or of 40 in pictures of 1080 rows and more."""
    with VideoSource(clip, name=clip.stem) as source:
        return MtcnnDetector(min_face=40 if source.info.height >= 1080 else 20)


def analyse(clip: Path, detector: MtcnnDetector, every: int, *, start: float = 0.0) -> Analysed:
    """Run over a clip from this second on."""
    pipeline = Pipeline(detector=detector, classifiers=[], detect_every=max(every, 0) or None, start=start)
    if every == LIVE:
        with pipeline.session(clip.stem) as session, VideoSource(clip, name=clip.stem) as source:
            results = [session.push(frame.image, seconds=frame.seconds) for frame in source if frame.seconds >= start]
        statistics = session.statistics
    else:
        with pipeline.run(str(clip)) as run:
            results = list(run)
        [statistics] = run.statistics.values()
    return Analysed(results, sum(statistics.stage_seconds.get(stage, 0.0) for stage in WORK))


def main() -> None:
    arguments = parse()
    clips = sorted(path for path in arguments.clips.iterdir() if path.suffix in (".gif", ".mp4", ".mkv"))
    report: dict[str, Any] = {"machine": machine.facts(), "starts": STARTS, "clips": {}, "pooled": {}}
    pooled = {every: Comparison() for every in arguments.every}
    usual, spent = dict.fromkeys(arguments.every, 0.0), dict.fromkeys(arguments.every, 0.0)
    for clip in clips:
        detector = detector_for(clip)
        analyse(clip, detector, 2)  # not timed: loads the networks for both detecting and finding again
        reference = analyse(clip, detector, 1)
        report["clips"][clip.name] = rows = {}
        for every in arguments.every:
            alone = Comparison()
            for first in range(STARTS if every != 1 else 1):
                wanted = reference.results[first:]
                run = analyse(clip, detector, every, start=wanted[0].frame.seconds) if every != 1 else reference
                alone.add(wanted, run.results)
                pooled[every].add(wanted, run.results)
                usual[every] += reference.seconds * len(wanted) / len(reference.results)
                spent[every] += run.seconds
            rows[name_of(every)] = alone.report()
            print(f"{clip.name}, detection every {name_of(every)}: {rows[name_of(every)]}", flush=True)
    for every, comparison in pooled.items():
        report["pooled"][name_of(every)] = {**comparison.report(), "speed": round(usual[every] / spent[every], 2)}
        print(f"all clips, detection every {name_of(every)}: {report['pooled'][name_of(every)]}")
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "refine.json").write_text(json.dumps(report, indent=2) + "\n")
    missed = [every for every, least in FLOOR.items() if every in pooled and pooled[every].report()["recall"] < least]
    if missed:
        sys.exit(f"detection every {name_of(missed[0])} finds less than {FLOOR[missed[0]]:.0%}")


def name_of(every: int) -> str:
    """Return what to call a setting in the results."""
    return {CHOSEN: "as chosen", LIVE: "as chosen, live"}.get(every, str(every))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="?", default=Path("../shared/videos"))
    parser.add_argument("--every", type=int, nargs="+", default=[1, 2, 5, 10, CHOSEN, LIVE])
    return parser.parse_args()


if __name__ == "__main__":
    main()
