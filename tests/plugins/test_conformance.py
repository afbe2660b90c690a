"""The built-in plugins pass what `framehook.testing` asks of a stranger's, and what breaks a contract does not."""

import pytest

from framehook import Detections
from framehook.testing import DetectorConformance, OrderTracker, RefinerConformance, TrackerConformance
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.trackers.iou import IouTracker


class TestMtcnn(DetectorConformance, RefinerConformance):
    def make(self):
        return MtcnnDetector(device="cpu")


class TestIou(TrackerConformance):
    def make(self):
        return IouTracker()


class Forgetful:
    def detect(self, frames):
        return [Detections.empty()] * max(len(frames) - 1, 0)


def test_a_detector_that_drops_a_frame_does_not_conform():
    class Conformance(DetectorConformance):
        def make(self):
            return Forgetful()

    with pytest.raises(AssertionError):
        Conformance().test_it_returns_one_result_for_each_frame()


def test_a_refiner_that_finds_what_was_not_there_does_not_conform():
    class Inventive:
        def refine(self, frames, near):
            return [Detections(boxes=[[0, 0, 8, 8]])] * len(frames)

    class Conformance(RefinerConformance):
        def make(self):
            return Inventive()

    with pytest.raises(AssertionError):
        Conformance().test_it_returns_of_each_frame_some_of_what_was_there()


def test_a_tracker_that_uses_an_id_twice_does_not_conform():
    class Conformance(TrackerConformance):
        def make(self):
            return OrderTracker()

    with pytest.raises(AssertionError):
        Conformance().test_ids_rise()
