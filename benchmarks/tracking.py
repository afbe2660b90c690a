"""Check the tracker `iou` on crowds whose truth is known and on real clips, then time it.

    python benchmarks/tracking.py [FOLDER OF CLIPS]

Writes results/tracking.json beside this file, and fails where a crowd's ids are mixed up, or a clip has other than the expected
number of ids.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import machine
import numpy as np
import torch
from numpy.typing import NDArray

from framehook import Detections, Frame, Image, StreamInfo, VideoSource, geometry
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.trackers.iou import IouTracker

HERE = Path(__file__).resolve().parent
STREAM = StreamInfo(name="crowd", width=1920, height=1080, rate=Fraction(25))
FRAMES = 1000
MAX_MIXED = {1: 0.001, 5: 0.005, 10: 0.005, 50: 0.1}  # by persons, the share of detections with someone else's id
CLIP_IDS = {  # persons whose face is seen well, counted by looking
    "classroom.gif": 4,
    "face-demographics-walking.gif": 2,
    "face-demographics-walking-and-pause.gif": 3,
    "facenet-multiface-1080p.mp4": 9,  # eight persons, one of whom turns away for two and a half seconds
    "head-pose-face-detection-female.gif": 1,
    "head-pose-face-detection-female-and-male.gif": 2,
    "humans_mot.mp4": 0,
    "nasa_13013.mp4": 0,
    "sign-again-480p.mkv": 1,
    "sign-bird-480p.mkv": 1,
    "sign-thanks-480p.mkv": 1,
    "wave.mp4": 1,
}


class Unseen:
    """A picture that is not needed."""

    def rgb(self) -> Image:
        """Refuse: a tracker needs no pixels."""
        raise NotImplementedError

    def scaled(self, width: int, height: int) -> Image:
        """Refuse: a tracker needs no pixels."""
        raise NotImplementedError


class Moment(NamedTuple):
    """One frame of a crowd."""

    frame: Frame
    detections: Detections
    persons: NDArray[np.int64]
    """Who each detection is; -1 for a false alarm."""


def crowd(persons: int, *, seed: int = 0) -> Iterator[Moment]:
    """Walk persons about in a picture, at about two of their faces per second, turning back at its edges.

    Every box jitters by 2 % of its size, one in ten is missed at random, each person looks away for 0.4 s every 4 s, larger faces
    hide what is behind them, and every third frame has a false alarm of low score.
    """
    random = np.random.default_rng(seed)
    room = np.array([STREAM.width, STREAM.height])
    centres = random.uniform(0, 1, (persons, 2)) * room
    velocities = random.normal(0, 90, (persons, 2))  # pixels per second
    sizes = np.sort(random.uniform(40, 90, (persons, 1)), axis=0)
    away = random.uniform(0, 4, persons)
    for i in range(FRAMES):
        velocities = 0.99 * velocities + random.normal(0, 12, (persons, 2))
        centres += velocities / 25
        velocities = np.where((centres < 0) & (velocities < 0) | (centres > room) & (velocities > 0), -velocities, velocities)
        points = centres + random.normal(0, 0.02, (persons, 2)) * sizes
        boxes = np.concatenate([points - sizes / 2, points + sizes / 2], axis=1)
        covered = np.triu(geometry.intersection(boxes, boxes), 1) / sizes**2  # by those with larger faces
        seen = (random.random(persons) > 0.1) & ((i / 25 + away) % 4 > 0.4) & (covered.max(axis=1) < 0.4)
        boxes, who = boxes[seen], np.flatnonzero(seen)
        scores = random.uniform(0.98, 1, len(who))
        if i % 3 == 0:
            corner = random.uniform(0, 1, 2) * room
            boxes = np.concatenate([boxes, [[*corner, *corner + 50]]])
            scores, who = np.append(scores, 0.8), np.append(who, -1)
        frame = Frame(stream=STREAM, index=i, pts=i, time_base=Fraction(1, 25), picture=Unseen())
        yield Moment(frame, Detections(boxes=boxes.astype(np.float32), scores=scores.astype(np.float32)), who)


def follow_crowd(persons: int) -> dict[str, Any]:
    """Track a crowd, and return how well and how fast."""
    tracker, seconds = IouTracker(), []
    owners: defaultdict[int, Counter[int]] = defaultdict(Counter)  # by track, the persons that it was given to
    untracked = total = 0
    for frame, detections, who in crowd(persons):
        start = perf_counter()
        tracks = tracker.update(frame, detections).tracks
        seconds.append(perf_counter() - start)
        for person, track in zip(who.tolist(), tracks.tolist(), strict=True):
            total += person >= 0
            untracked += person >= 0 and track < 0
            if track > 0:
                owners[track][person] += 1
    tracked = sum(counts.total() for counts in owners.values())
    return {
        "persons": persons,
        "ids": len(owners),
        "mixed_share": round(1 - sum(max(counts.values()) for counts in owners.values()) / tracked, 5),
        "untracked_share": round(untracked / total, 4),
        "update_ms_median": round(1000 * float(np.median(seconds)), 3),
        "update_ms_p99": round(1000 * float(np.percentile(seconds, 99)), 3),
    }


def follow_clip(path: Path) -> dict[str, int]:
    """Detect and track in a clip, and return how many ids there are."""
    detector, tracker = MtcnnDetector(device="cpu"), IouTracker()
    found = tracked = 0
    ids: set[int] = set()
    with VideoSource(path, name=path.stem) as source:
        for frame in source:
            tracks = tracker.update(frame, *detector.detect([frame])).tracks
            found += len(tracks)
            tracked += int((tracks > 0).sum())
            ids.update(tracks[tracks > 0].tolist())
    return {"detections": found, "with_an_id": tracked, "ids": len(ids), "ids_expected": CLIP_IDS[path.name]}


def main(folder: Path) -> int:
    """Check and time, write the results, and return the exit status."""
    torch.set_num_threads(1)
    crowds = [follow_crowd(persons) for persons in MAX_MIXED]
    clips = {path.name: follow_clip(path) for path in sorted(folder.iterdir()) if path.name in CLIP_IDS}
    results = {"machine": machine.facts(), "crowds": crowds, "clips": clips}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "tracking.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    mixed = any(result["mixed_share"] > MAX_MIXED[result["persons"]] for result in crowds)
    miscounted = any(result["ids"] != result["ids_expected"] for result in clips.values())
    return int(mixed or miscounted or not clips)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "shared" / "videos"))
