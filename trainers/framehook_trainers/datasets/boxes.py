"""Find the face of each training picture as inference would, so that training sees the crops that inference cuts."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TypeAlias

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


def detect_faces(samples: Sequence[Sample], *, workers: int, progress: Callable[[int], None] = lambda done: None) -> list[Boxes]:
    """Return the boxes that MTCNN finds in each picture, (k, 4) each.

    Args:
        samples: the pictures.
        workers: processes that share the work.
        progress: told how many pictures are done.
    """
    batches = [[sample.data for sample in samples[i : i + _BATCH]] for i in range(0, len(samples), _BATCH)]
    found: list[Boxes] = []
    for boxes in _map_over_processes(_detect_batch, batches, workers):
        found += boxes
        progress(len(found))
    return found


def choose_faces(sizes: Sequence[tuple[int, int]], found: Sequence[Boxes]) -> tuple[Boxes, NDArray[np.bool_]]:
    """Return the box of the face that each picture's label speaks of, (n, 4), and whether the detector found it, (n,).

    It is the box that overlaps the set's median box best; where none does, the median box itself.

    Args:
        sizes: width and height of each picture.
        found: (k, 4) boxes of all faces in each picture.
    """
    scale = np.array([[width, height, width, height] for width, height in sizes], np.float32).reshape(-1, 4)
    single = [boxes[0] / side for boxes, side in zip(found, scale, strict=True) if len(boxes) == 1]
    usual = np.median(single, axis=0).astype(np.float32) if single else np.array([0, 0, 1, 1], np.float32)
    chosen = usual * scale
    there = np.zeros(len(found), bool)
    for i, boxes in enumerate(found):
        overlap = geometry.iou(boxes, chosen[i : i + 1])[:, 0]
        if overlap.any():
            chosen[i] = boxes[overlap.argmax()]
            there[i] = True
    return chosen, there


def _map_over_processes(
    work: Callable[[list[bytes]], list[Boxes]], batches: list[list[bytes]], workers: int
) -> Iterator[list[Boxes]]:
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


def _detect_batch(files: list[bytes]) -> list[Boxes]:
    return [faces.boxes for faces in _detector().detect([as_frame(decode(data)) for data in files])]
