"""What the documents show type-checkers take, in a project of somebody else's."""

import subprocess
import sys

OWN_PROJECT = """
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from framehook import Classifier, Column, Detections, Detector, Frame, FrameResult, Pipeline
from framehook.testing import ClassifierConformance

class Bright:
    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        return [Detections(boxes=[[1.0, 2.0, 9.0, 9.0]], scores=[0.5], labels=[0], names=("lamp",)) for _ in frames]

class Plain:
    columns: ClassVar[tuple[Column, ...]] = (Column(name="level"),)

    def classify(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> Sequence[Detections]:
        return [found.with_attributes(level=np.ones(len(found))) for found in detections]

class Said:
    columns: ClassVar[tuple[Column, ...]] = (Column(name="other"),)

    def classify(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> Sequence[Detections]:
        return [found.with_attributes(other=np.ones(len(found))) for found in detections]

class TestPlain(ClassifierConformance):
    def make(self) -> Plain:
        return Plain()

detector: Detector = Bright()
classifiers: list[Classifier] = [Plain()]
pipeline = Pipeline(detector=detector, classifiers=[*classifiers, Said()], out="results", reconnect=5)
results: list[FrameResult] = list(pipeline.run(["a.mp4", "rtsp://camera/door"]))
"""


def test_what_the_documents_show_is_well_typed(tmp_path):
    (tmp_path / "own.py").write_text(OWN_PROJECT)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "own.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "Success: no issues found in 1 source file\n"
