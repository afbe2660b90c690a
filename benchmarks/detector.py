"""Compare the detector `mtcnn` with facenet-pytorch's own, box by box, on every frame of every clip, and in speed.

    python benchmarks/detector.py [FOLDER OF CLIPS] [--backends torch openvino onnxruntime] [--device cuda]

They take turns of twenty frames, so that all see the same machine, and caches as in a run of their own. Their smallest face is
20 pixels, 40 in pictures of 1080 rows and more. Writes results/detector.json (or detector-cuda.json) beside this file, and fails
where they disagree by more than is allowed: every frame must hold the same number of faces, and 99 % of the boxes must overlap
with an intersection over union of at least 0.95.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import machine
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from framehook import Detections, Frame, VideoSource, geometry
from framehook_plugins.device import Device
from framehook_plugins.mtcnn.backends import Backend
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
    """facenet-pytorch's detector in the records of framehook."""

    def __init__(self, *, min_face: int, device: str) -> None:
        self._mtcnn = MTCNN(min_face_size=min_face, device=torch.device(device))

    def detect(self, frame: Frame) -> Detections:
        """Return the faces of a frame; where the reference fails because it finds no candidate at all, none."""
        try:
            boxes, scores, landmarks = self._mtcnn.detect(frame.image, landmarks=True)
        except RuntimeError as error:
            if "non-empty" not in str(error):
                raise
            boxes = None
        if boxes is None:
            boxes, scores, landmarks = np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2))
        as_floats: list[NDArray[np.float32]] = [np.asarray(values, dtype=np.float32) for values in (boxes, scores, landmarks)]
        return Detections(boxes=as_floats[0], scores=as_floats[1], attributes={"landmarks": as_floats[2]})


def compare(path: Path, *, backends: Sequence[Backend], device: Device) -> dict[Backend, Agreement]:
    """Run all detectors over a clip."""
    agreements = {backend: Agreement() for backend in backends}
    with VideoSource(path, name=path.stem) as source:
        min_face = 40 if source.info.height >= 1080 else 20
        reference = Reference(min_face=min_face, device=device)
        detectors = {backend: MtcnnDetector(min_face=min_face, device=device, backend=backend) for backend in backends}
        for turn in batched(source, TURN):
            _ = [frame.image for frame in turn]  # decoding is not what is timed
            if turn[0].index == 0:  # nor loading
                reference.detect(turn[0])
                for detector in detectors.values():
                    detector.detect(turn[:1])
            expected, reference_seconds = timed(lambda: [reference.detect(frame) for frame in turn])  # noqa: B023 -- called now
            for backend, detector in detectors.items():
                found, seconds = timed(partial(detector.detect, turn))
                agreements[backend].seconds += seconds
                agreements[backend].reference_seconds += reference_seconds
                for frame, ours, theirs in zip(turn, found, expected, strict=True):
                    agreements[backend].add(frame.index, ours, theirs)
    return agreements


def batched(frames: Iterable[Frame], n: int) -> Iterator[tuple[Frame, ...]]:
    """Yield the frames, n at a time (itertools has it from Python 3.12 on)."""
    rest = iter(frames)
    while turn := tuple(islice(rest, n)):
        yield turn


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and how long it took."""
    start = perf_counter()
    return call(), perf_counter() - start


def main() -> None:
    """Compare all clips, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="?", default=HERE.parents[1] / "shared" / "videos")
    parser.add_argument("--backends", nargs="+", choices=["torch", "openvino", "onnxruntime"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    backends = arguments.backends or ["torch", *(["openvino", "onnxruntime"] if arguments.device == "cpu" else [])]
    agreements = {}
    for path in sorted(path for path in arguments.clips.iterdir() if path.suffix in (".gif", ".mkv", ".mp4")):
        agreements[path.name] = compare(path, backends=backends, device=arguments.device)
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
