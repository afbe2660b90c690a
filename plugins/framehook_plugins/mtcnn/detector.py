"""The detector that the pipeline talks to; the networks behind it are loaded when first needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from framehook import Detections, Frame, Image, check_options, geometry
from framehook_plugins.backends import Backend, check_backend, choose_backend
from framehook_plugins.device import Device, resolve_device
from framehook_plugins.loading import loaded_once
from framehook_plugins.mtcnn.feeding import load_networks

if TYPE_CHECKING:
    from framehook_plugins.mtcnn.cascade import Cascade
    from framehook_plugins.mtcnn.faces import Faces
    from framehook_plugins.mtcnn.resident import ResidentCascade

_NO_IMAGE: Image = np.empty((0, 0, 3), np.uint8)

Threshold = Annotated[float, Field(gt=0, lt=1)]


class MtcnnDetector:
    """Find faces and their five landmarks with MTCNN.

    Source: Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks"
    (IEEE Signal Processing Letters 23, 2016), with the networks and weights of facenet-pytorch, whose results it reproduces.

    Each result carries the attribute `landmarks`, (n, 5, 2) x, y in pixels: left eye, right eye, nose, left and right corner of
    the mouth, as seen in the picture.

    Several threads may share a detector; on OpenVINO they take turns.

    Args:
        min_face: the smallest face to look for, in pixels; the time of the pyramid and of P-Net grows with 1 / min_face².
        thresholds: the scores that a candidate must reach in the three stages.
        factor: from one level of the picture pyramid to the next.
        device: where the networks run.
        backend: what they run on; `openvino` and `onnxruntime` are extras for the CPU.
    """

    def __init__(
        self,
        *,
        min_face: Annotated[int, Field(ge=6)] = 20,
        thresholds: tuple[Threshold, Threshold, Threshold] = (0.6, 0.7, 0.7),
        factor: Annotated[float, Field(ge=0.3, le=0.9)] = 0.709,
        device: Device = "auto",
        backend: Backend = "auto",
    ) -> None:
        given = {"min_face": min_face, "thresholds": thresholds, "factor": factor, "device": device, "backend": backend}
        check_options("plugin 'mtcnn'", MtcnnDetector, given)
        self._min_face = min_face
        self._thresholds = thresholds
        self._factor = factor
        self._device = device
        self._backend = backend
        check_backend(backend, device)
        if device == "cuda":
            resolve_device(device)  # an absent device is told before any frame is decoded

    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        """Return the faces of each frame, best score first."""
        return [
            Detections(boxes=faces.boxes, scores=faces.scores, attributes={"landmarks": faces.landmarks})
            for faces in self._find(frames)
        ]

    def _find(self, frames: Sequence[Frame]) -> "list[Faces]":
        if self._resident is None:
            return self._cascade.find([frame.image for frame in frames])
        found = self._resident.find([frame.planes or frame.image for frame in frames])
        pairs = zip(frames, found, strict=True)
        return [self._cascade.find([frame.image])[0] if faces is None else faces for frame, faces in pairs]

    def refine(self, frames: Sequence[Frame], near: Sequence[Detections]) -> Sequence[Detections]:
        """Return what is left of known faces in each frame, with the same tracks and labels, best score first.

        The last stages look where each face is expected, and about there. A frame without any is not looked at.
        """
        found = self._cascade.find_again(
            [frame.image if len(known) else _NO_IMAGE for frame, known in zip(frames, near, strict=True)],
            [known.boxes for known in near],
        )
        return [_same_faces(faces, known) for faces, known in zip(found, near, strict=True)]

    @loaded_once
    def _cascade(self) -> "Cascade":
        from framehook_plugins.mtcnn.cascade import Cascade  # brings torch

        networks = load_networks(self._backend, self._device)
        return Cascade(networks, min_face=self._min_face, thresholds=self._thresholds, factor=self._factor)

    @loaded_once
    def _resident(self) -> "ResidentCascade | None":
        """The cascade for whole pictures on a device of its own; None where the networks run on the CPU."""
        _, device = choose_backend(self._backend, self._device)
        if device.type == "cpu":
            return None
        from framehook_plugins.mtcnn.resident import ResidentCascade

        return ResidentCascade(device, min_face=self._min_face, thresholds=self._thresholds, factor=self._factor)


def _same_faces(faces: "Faces", known: Detections) -> Detections:
    """Return the faces as those of the known ones that they overlap most, each at most once."""
    overlap = geometry.iou(faces.boxes, known.boxes)  # (found, known)
    rows, columns = [], []
    for row in range(len(overlap)):  # best score first
        column = int(overlap[row].argmax()) if overlap.shape[1] else 0
        if overlap[row].max(initial=0) > 0:
            rows.append(row)
            columns.append(column)
            overlap[:, column] = 0
    return Detections(
        boxes=faces.boxes[rows],
        scores=faces.scores[rows],
        labels=known.labels[columns],
        tracks=known.tracks[columns],
        names=known.names,
        attributes={"landmarks": faces.landmarks[rows]},
    )
