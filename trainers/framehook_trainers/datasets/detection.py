"""Find the face of each training picture as inference would, so that training sees the crops that inference cuts."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from framehook import ArraySource, Detections, Frame, Image, SourceNotFoundError, geometry
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_trainers.datasets.parts import Arrays
from framehook_trainers.datasets.policies import PictureFile
from framehook_trainers.datasets.samples import CORRUPT_PICTURE, MISSING_PICTURE

Boxes: TypeAlias = NDArray[np.float32]
Reads: TypeAlias = list[Callable[[], bytes]]

MIN_FACE = 40  # pixels: the faces fill their pictures
_BATCH = 64
_BATCH_PIXELS = 1 << 24  # of large pictures fewer are in memory at once
_PROBLEMS = ("", MISSING_PICTURE, CORRUPT_PICTURE)


def decode(data: bytes) -> Image:
    """Return the pixels of an image file, (height, width, 3) RGB.

    Raises:
        ValueError: no image that OpenCV can read to its end.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # an empty file, or one that claims to be enormous
        image = None
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
    scores: NDArray[np.float32]
    """(k,) 0 to 1."""


class Examined(NamedTuple):
    """What one picture is, and shows."""

    problem: str
    """The rule that leaves it out: it is missing or corrupt; else empty."""
    file: PictureFile
    """SHA-256 and size; nothing and 0 x 0 where there is a problem."""
    found: Found
    """The faces in it."""


class Chosen(NamedTuple):
    """The face that the label speaks of, for each of n pictures."""

    boxes: Boxes
    """(n, 4)."""
    landmarks: NDArray[np.float32]
    """(n, 5, 2); NaN where no face was found."""
    scores: NDArray[np.float32]
    """(n,); NaN where no face was found."""
    found: NDArray[np.bool_]
    """(n,)."""

    def where(self, some: NDArray[np.bool_] | NDArray[np.int64]) -> "Chosen":
        """Return the faces of some pictures, by mask or by index."""
        return Chosen(self.boxes[some], self.landmarks[some], self.scores[some], self.found[some])

    @classmethod
    def concatenate(cls, parts: Sequence["Chosen"]) -> "Chosen":
        """Return the faces of all parts, one after the other."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def choose_faces(sizes: Sequence[tuple[int, int]], found: Sequence[Found], *, anywhere: bool = False) -> Chosen:
    """Return for each picture the face that overlaps the set's median box best; where none does, the median box itself.

    Args:
        sizes: width and height of each picture.
        found: all faces of each picture.
        anywhere: take a picture's only face wherever it is. Where a set was cut about the faces that it labels, as FairFace was,
            a face at the edge is a bystander's.
    """
    scale = np.array([[width, height, width, height] for width, height in sizes], np.float32).reshape(-1, 4)
    single = [faces.boxes[0] / side for faces, side in zip(found, scale, strict=True) if len(faces.boxes) == 1]
    usual = np.median(single, axis=0).astype(np.float32) if single else np.array([0, 0, 1, 1], np.float32)
    boxes = usual * scale
    landmarks = np.full((len(found), 5, 2), np.nan, np.float32)
    scores = np.full(len(found), np.nan, np.float32)
    there = np.zeros(len(found), bool)
    for i, faces in enumerate(found):
        overlap = geometry.iou(faces.boxes, boxes[i : i + 1])[:, 0]
        if overlap.any() or (anywhere and len(overlap) == 1):
            best = overlap.argmax()
            boxes[i], landmarks[i], scores[i] = faces.boxes[best], faces.landmarks[best], faces.scores[best]
            there[i] = True
    return Chosen(boxes, landmarks, scores, there)


def examine(reads: Reads) -> Arrays:
    """Read, hash and decode pictures, and find their faces; `unpack` says what came of each.

    Args:
        reads: returns a picture's bytes, each.
    """
    files: list[tuple[str, PictureFile]] = []
    faces: list[Detections] = []
    left = iter(reads)
    while len(files) < len(reads):
        some, found = _examine_batch(left)
        files += some
        faces += found
    counts = np.zeros(len(reads), np.int64)
    counts[[not problem for problem, _ in files]] = [len(detections) for detections in faces]
    empty = np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
    return {
        "problem": np.array([_PROBLEMS.index(problem) for problem, _ in files], np.uint8),
        "digest": np.array([np.frombuffer(file.digest, np.uint8) for _, file in files], np.uint8).reshape(-1, 32),
        "size": np.array([(file.width, file.height) for _, file in files]).reshape(-1, 2),
        "count": counts,
        "boxes": np.concatenate([empty[0], *(detections.boxes for detections in faces)]),
        "landmarks": np.concatenate([empty[1], *(detections.attributes["landmarks"] for detections in faces)]),
        "scores": np.concatenate([empty[2], *(detections.scores for detections in faces)]),
    }


def _examine_batch(reads: Iterator[Callable[[], bytes]]) -> tuple[list[tuple[str, PictureFile]], list[Detections]]:
    """Return the problem of each next picture, and what it is, and the faces of those without: as many as one batch holds."""
    files: list[tuple[str, PictureFile]] = []
    frames: list[Frame] = []
    pixels = 0
    for read in reads:
        problem, digest, image = _read(read)
        height, width = (0, 0) if image is None else image.shape[:2]
        files.append((problem, PictureFile(digest, width, height)))
        if image is not None:
            frames.append(as_frame(image))
            pixels += width * height
        if len(frames) == _BATCH or pixels >= _BATCH_PIXELS:
            break
    return files, list(_detector().detect(frames)) if frames else []


def unpack(arrays: Arrays) -> Iterator[Examined]:
    """Yield what `examine` says of each picture."""
    ends = np.concatenate([[0], np.cumsum(arrays["count"])]).tolist()
    columns = [arrays[name] for name in ("boxes", "landmarks", "scores")]
    for i, (first, end) in enumerate(pairwise(ends)):
        width, height = arrays["size"][i].tolist()
        file = PictureFile(arrays["digest"][i].tobytes(), width, height)
        yield Examined(_PROBLEMS[arrays["problem"][i]], file, Found(*(column[first:end] for column in columns)))


def _read(read: Callable[[], bytes]) -> tuple[str, bytes, Image | None]:
    """Return the problem, the SHA-256 and the pixels of a picture."""
    try:
        data = read()
    except SourceNotFoundError:
        return MISSING_PICTURE, bytes(32), None
    digest = hashlib.sha256(data).digest()
    try:
        return "", digest, decode(data)
    except ValueError:
        return CORRUPT_PICTURE, digest, None


@cache
def _detector() -> MtcnnDetector:
    return MtcnnDetector(min_face=MIN_FACE, device="cpu")
