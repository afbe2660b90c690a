"""Find the face of each training picture as inference would, so that training sees the crops that inference cuts."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from framehook import ArraySource, Frame, Image, geometry
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_trainers.datasets.samples import Sample

Boxes: TypeAlias = NDArray[np.float32]

_BATCH = 64
_MIN_FACE = 40  # pixels: the faces fill their pictures


def decode(data: bytes) -> Image:
    """Return the pixels of an image file, (height, width, 3) RGB.

    Raises:
        ValueError: no image that OpenCV can read.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"cannot decode an image of {len(data)} bytes")
    return np.asarray(image, dtype=np.uint8)


def as_frame(image: Image) -> Frame:
    """Return the picture as the only frame of a stream, for detectors and classifiers."""
    return next(iter(ArraySource([image])))


class Found(NamedTuple):
    """What MTCNN finds in one picture."""

    boxes: Boxes
    """(k, 4) x1, y1, x2, y2 in pixels."""
    landmarks: NDArray[np.float32]
    """(k, 5, 2) x, y in pixels."""


class Chosen(NamedTuple):
    """The face that the label speaks of, for each of n pictures."""

    boxes: Boxes
    """(n, 4)."""
    landmarks: NDArray[np.float32]
    """(n, 5, 2); NaN where no face was found."""
    found: NDArray[np.bool_]
    """(n,)."""

    @classmethod
    def concatenate(cls, parts: Sequence["Chosen"]) -> "Chosen":
        """Return the faces of all parts, one after the other."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def detect_faces(samples: Sequence[Sample], *, workers: int, progress: Callable[[int], None] = lambda done: None) -> list[Found]:
    """Return what MTCNN finds in each picture.

    Args:
        samples: the pictures.
        workers: processes that share the work.
        progress: told how many pictures are done.
    """
    batches = [[sample.data for sample in samples[i : i + _BATCH]] for i in range(0, len(samples), _BATCH)]
    found: list[Found] = []
    for some in _map_over_processes(_detect_batch, batches, workers):
        found += some
        progress(len(found))
    return found


def choose_faces(sizes: Sequence[tuple[int, int]], found: Sequence[Found]) -> Chosen:
    """Return for each picture the face that overlaps the set's median box best; where none does, the median box itself.

    Args:
        sizes: width and height of each picture.
        found: all faces of each picture.
    """
    scale = np.array([[width, height, width, height] for width, height in sizes], np.float32).reshape(-1, 4)
    single = [faces.boxes[0] / side for faces, side in zip(found, scale, strict=True) if len(faces.boxes) == 1]
    usual = np.median(single, axis=0).astype(np.float32) if single else np.array([0, 0, 1, 1], np.float32)
    boxes = usual * scale
    landmarks = np.full((len(found), 5, 2), np.nan, np.float32)
    there = np.zeros(len(found), bool)
    for i, faces in enumerate(found):
        overlap = geometry.iou(faces.boxes, boxes[i : i + 1])[:, 0]
        if overlap.any():
            best = overlap.argmax()
            boxes[i], landmarks[i], there[i] = faces.boxes[best], faces.landmarks[best], True
    return Chosen(boxes, landmarks, there)


def _map_over_processes(
    work: Callable[[list[bytes]], list[Found]], batches: list[list[bytes]], workers: int
) -> Iterator[list[Found]]:
    if workers == 1:
        yield from map(work, batches)
        return
    # Spawned, for a forked process inherits torch's locked thread pools.
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_use_one_thread) as pool:
        yield from pool.imap(work, batches)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@cache
def _detector() -> MtcnnDetector:
    return MtcnnDetector(min_face=_MIN_FACE, device="cpu")


def _detect_batch(files: list[bytes]) -> list[Found]:
    found = _detector().detect([as_frame(decode(data)) for data in files])
    return [Found(faces.boxes, faces.attributes["landmarks"]) for faces in found]
