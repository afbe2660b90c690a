"""What a plugin author tests with: synthetic pictures and video, fakes, and tests that every plugin of a kind passes.

The last of these are in `conformance.py`, and found here, too.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from framehook.conformance import (
    AnalyzerConformance,
    ClassifierConformance,
    DetectorConformance,
    RefinerConformance,
    SinkConformance,
    SourceConformance,
    TrackerConformance,
)
from framehook.detections import Detections
from framehook.frame import Frame, Image, StreamInfo
from framehook.pictures import grey_image, make_frame
from framehook.results import FrameResult, StreamStatistics
from framehook.video import VideoWriter

__all__ = [
    "AnalyzerConformance",
    "ClassifierConformance",
    "DetectorConformance",
    "FixedDetector",
    "MemorySink",
    "OrderTracker",
    "RefinerConformance",
    "SinkConformance",
    "SourceConformance",
    "TrackerConformance",
    "frame_number",
    "grey_image",
    "grey_of",
    "make_frame",
    "synthetic_video",
]

_GREYS = 47  # a prime: as many frames in a row differ from one another
_GREY_STEP = 5  # between any two greys: a lossy codec moves them by less than half of it
_FRAME_STEP = 8  # of these steps from one frame to the next: 40


def synthetic_video(
    path: str | Path,
    *,
    frames: int = 10,
    width: int = 64,
    height: int = 48,
    rate: int = 25,
    pts: Iterable[int] | None = None,
) -> Path:
    """Write an H.264 clip whose frame i is flat grey of value `grey_of(i)`, and return its path.

    Args:
        path: ends in `.mp4`.
        frames: how many.
        width: pixels.
        height: pixels.
        rate: frames per second.
        pts: presentation times in units of 1 / (40 · rate) seconds, for a variable frame rate; None for a constant one.
    """
    path = Path(path)
    times = [40 * i for i in range(frames)] if pts is None else list(pts)
    with VideoWriter(path, width=width, height=height, time_base=Fraction(1, 40 * rate), rate=Fraction(rate)) as writer:
        for i, time in enumerate(times[:frames]):
            writer.write(grey_image(width, height, value=grey_of(i)), time)
    return path


def grey_of(frame: int) -> int:
    """Return the grey of a frame of `synthetic_video`: 0, 40, 80, … up to 230, no two alike until they repeat after 47 frames."""
    return _GREY_STEP * (_FRAME_STEP * frame % _GREYS)


def frame_number(image: Image) -> int:
    """Return which frame of `synthetic_video` a picture shows, modulo 47, though a codec has blurred its grey."""
    return round(float(image.mean()) / _GREY_STEP) * pow(_FRAME_STEP, -1, _GREYS) % _GREYS


class FixedDetector:
    """A detector that finds the same boxes in every frame, or none in those of `but_not`.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        but_not: indices of frames in which it finds nothing.
        fail_at: the index of a frame on which it raises; -1 for none.
    """

    def __init__(self, boxes: ArrayLike = ((8, 8, 24, 24),), *, but_not: Sequence[int] = (), fail_at: int = -1) -> None:
        self._boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        self._but_not = but_not
        self._fail_at = fail_at

    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        """Return the boxes for each frame."""
        if any(frame.index == self._fail_at for frame in frames):
            raise RuntimeError("the detector was told to fail")
        return [Detections.empty() if frame.index in self._but_not else Detections(boxes=self._boxes) for frame in frames]


class OrderTracker:
    """A tracker that gives the first detection of every frame the id 1, the second 2, and so on.

    It is for tests of what comes after it: it uses ids again, which a tracker must not.
    """

    def __init__(self) -> None:
        self._last = Detections.empty()

    def update(self, frame: Frame, detections: Detections) -> Detections:
        """Return the detections numbered."""
        self._last = detections.with_tracks(np.arange(1, len(detections) + 1))
        return self._last

    def predict(self, frame: Frame) -> Detections:
        """Return what was there last."""
        return self._last


class MemorySink:
    """A sink that keeps what it is told: `opened`, `results`, `ended` and how often it was `closed`.

    Args:
        fail_at: the index of a frame on which it raises; -1 for none.
    """

    def __init__(self, *, fail_at: int = -1) -> None:
        self._fail_at = fail_at
        self.opened: list[StreamInfo] = []
        self.results: list[FrameResult] = []
        self.ended: list[StreamStatistics] = []
        self.closed = 0

    def open(self, stream: StreamInfo) -> None:
        """Note the stream."""
        self.opened.append(stream)

    def write(self, result: FrameResult) -> None:
        """Keep the result."""
        if result.frame.index == self._fail_at:
            raise RuntimeError("the sink was told to fail")
        self.results.append(result)

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Keep the statistics."""
        self.ended.append(statistics)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1
