"""Compare the detector `mtcnn` with facenet-pytorch's own, box by box, on every frame of every clip, and in speed.

    python benchmarks/detector.py [FOLDER OF CLIPS] [--backends torch openvino onnxruntime] [--device cuda]

Each has a process of its own, so that no other's threads wait in its way, and they take turns of twenty frames, so that all see
the same machine. Their smallest face is 20 pixels, 40 in pictures of 1080 rows and more. Writes results/detector.json (or
detector-cuda.json) beside this file, and fails where they disagree by more than is allowed: every frame must hold the same number
of faces, and 99 % of the boxes must overlap with an intersection over union of at least 0.95.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import machine
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from framehook import Detections, Frame, VideoSource, geometry
from framehook_plugins.backends import Backend
from framehook_plugins.device import Device, exact_products
from framehook_plugins.mtcnn.detector import MtcnnDetector

HERE = Path(__file__).resolve().parent
MIN_IOU = 0.95
MIN_SHARE = 0.99
TURN = 20


@dataclass
class Agreement:
    """How two detectors agree on one clip."""

    frames: int = 0
    """Frames compared."""
    differing: list[int] = field(default_factory=list)
    """Indices of the frames with different numbers of faces."""
    ious: list[float] = field(default_factory=list)
    """Of each pair of boxes; 0 for a box that only one of them found."""
    landmark_px: float = 0.0
    """The largest distance between two landmarks of one face."""
    score: float = 0.0
    """The largest difference of two scores of one face."""
    seconds: float = 0.0
    """Time that the detector took for all frames."""
    reference_seconds: float = 0.0
    """Time that the reference took."""

    def add(self, index: int, ours: Detections, reference: Detections) -> None:
        """Compare one frame."""
        self.frames += 1
        if len(ours) != len(reference):
            self.differing.append(index)
        overlap = geometry.iou(ours.boxes, reference.boxes)
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        lonely = max(len(ours), len(reference)) - len(rows)
        self.ious += [*overlap[rows, columns].tolist(), *[0.0] * lonely]
        way = np.linalg.norm(ours.attributes["landmarks"][rows] - reference.attributes["landmarks"][columns], axis=2)
        self.landmark_px = max(self.landmark_px, float(way.max(initial=0)))
        self.score = max(self.score, float(np.abs(ours.scores[rows] - reference.scores[columns]).max(initial=0)))

    @property
    def good(self) -> bool:
        """Whether they agree as well as they must."""
        return not self.differing and sum(iou >= MIN_IOU for iou in self.ious) >= MIN_SHARE * len(self.ious)

    def summary(self) -> dict[str, Any]:
        """Return the figures for the results file."""
        ious = np.array(self.ious)
        return {
            "frames": self.frames,
            "boxes": len(ious),
            "same_count_share": round(1 - len(self.differing) / max(self.frames, 1), 4),
            "frames_with_another_count": self.differing,
            "share_iou_at_least_0.95": round(float((ious >= MIN_IOU).mean()), 4) if len(ious) else None,
            "min_iou": round(float(ious.min()), 5) if len(ious) else None,
            "max_landmark_distance_px": round(self.landmark_px, 4),
            "max_score_difference": round(self.score, 6),
            "milliseconds_per_frame": round(1e3 * self.seconds / max(self.frames, 1), 2),
            "reference_milliseconds_per_frame": round(1e3 * self.reference_seconds / max(self.frames, 1), 2),
            "speed": round(self.reference_seconds / self.seconds, 2),
        }


class Reference:
    """facenet-pytorch's detector in the records of framehook, multiplying as `mtcnn` does: on CUDA, too, not rounded first."""

    def __init__(self, *, min_face: int, device: Device) -> None:
        self._device = torch.device(device)
        self._mtcnn = MTCNN(min_face_size=min_face, device=self._device)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return the faces of each frame; where the reference fails because it finds no candidate at all, none."""
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: Frame) -> Detections:
        try:
            with exact_products(self._device):
                boxes, scores, landmarks = self._mtcnn.detect(frame.image, landmarks=True)
        except RuntimeError as error:
            if "non-empty" not in str(error):
                raise
            boxes = None
        if boxes is None:
            boxes, scores, landmarks = np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2))
        as_floats: list[NDArray[np.float32]] = [np.asarray(values, dtype=np.float32) for values in (boxes, scores, landmarks)]
        return Detections(boxes=as_floats[0], scores=as_floats[1], attributes={"landmarks": as_floats[2]})


class Turn(NamedTuple):
    """What a contestant found in some frames of a clip."""

    frames: list[int]
    """Their indices; none: the clip is over."""
    found: list[Detections]
    seconds: float


def turns(path: Path, backend: Backend | None, device: Device) -> Iterator[Turn]:
    """Yield the turns of a detector, or of the reference (None), over a clip; decoding and loading are not timed."""
    with VideoSource(path, name=path.stem) as source:
        min_face = 40 if source.info.height >= 1080 else 20
        detector = (
            Reference(min_face=min_face, device=device)
            if backend is None
            else MtcnnDetector(min_face=min_face, device=device, backend=backend)
        )
        frames = iter(source)
        warm = False
        while turn := list(islice(frames, TURN)):
            _ = [frame.image for frame in turn]
            if not warm:
                detector.detect(turn[:1])
                warm = True
            start = perf_counter()
            found = list(detector.detect(turn))
            yield Turn([frame.index for frame in turn], found, perf_counter() - start)


class Contestant:
    """A detector, or the reference (None), in a process of its own."""

    def __init__(self, backend: Backend | None, device: Device) -> None:
        self._of = backend, device
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def begin(self, path: Path) -> None:
        """Open a clip."""
        self._process.submit(_begin, path, *self._of).result()

    def turn(self) -> Turn:
        """Take the next turn, while all others wait."""
        return self._process.submit(_turn).result()


_turns: Iterator[Turn] = iter(())  # of the process of a contestant


def _begin(path: Path, backend: Backend | None, device: Device) -> None:
    global _turns
    _turns = turns(path, backend, device)


def _turn() -> Turn:
    return next(_turns, Turn([], [], 0.0))


def compare(path: Path, *, reference: Contestant, detectors: Mapping[Backend, Contestant]) -> dict[Backend, Agreement]:
    """Run all detectors over a clip."""
    agreements = {backend: Agreement() for backend in detectors}
    for contestant in (reference, *detectors.values()):
        contestant.begin(path)
    while (expected := reference.turn()).frames:
        for backend, detector in detectors.items():
            ours = detector.turn()
            agreements[backend].seconds += ours.seconds
            agreements[backend].reference_seconds += expected.seconds
            for index, found, wanted in zip(expected.frames, ours.found, expected.found, strict=True):
                agreements[backend].add(index, found, wanted)
    return agreements


def main() -> None:
    """Compare all clips, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="?", default=HERE.parents[1] / "shared" / "videos")
    parser.add_argument("--backends", nargs="+", choices=["torch", "openvino", "onnxruntime"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    backends = arguments.backends or ["torch", *(["openvino", "onnxruntime"] if arguments.device == "cpu" else [])]
    device: Device = arguments.device
    reference = Contestant(None, device)
    detectors = {backend: Contestant(backend, device) for backend in backends}
    agreements = {}
    for path in sorted(path for path in arguments.clips.iterdir() if path.suffix in (".gif", ".mkv", ".mp4")):
        agreements[path.name] = compare(path, reference=reference, detectors=detectors)
        for backend, agreement in agreements[path.name].items():
            print(path.name, backend, json.dumps(agreement.summary()), flush=True)
    results = {
        "machine": machine.facts(),
        "torch_threads": torch.get_num_threads(),
        "clips": {name: {backend: one.summary() for backend, one in of.items()} for name, of in agreements.items()},
    }
    (HERE / "results").mkdir(exist_ok=True)
    name = "detector.json" if arguments.device == "cpu" else f"detector-{arguments.device}.json"
    (HERE / "results" / name).write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(not agreements or not all(one.good for of in agreements.values() for one in of.values()))


if __name__ == "__main__":
    main()
