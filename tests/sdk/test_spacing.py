from fractions import Fraction

import pytest

from framehook import ArraySource, Pipeline
from framehook.testing import FixedDetector, OrderTracker, grey_image


class Forgetful(OrderTracker):
    """A tracker of somebody else that never gives an id."""

    def update(self, frame, detections):
        return detections


def warnings_of(*, rate, frames=6, **given):
    source = ArraySource([grey_image(64, 48)] * frames, name="a", rate=Fraction(rate))
    run = Pipeline(**{"detector": FixedDetector(), "classifiers": [], **given}).run(source)
    list(run)
    return run.statistics["a"].warnings


@pytest.mark.parametrize("tracker", ["iou", Forgetful()], ids=["iou", "another one"])
def test_frames_too_far_apart_for_any_track_are_told_of(tracker):
    [warning] = warnings_of(rate=Fraction(1, 2), tracker=tracker)
    assert warning == (
        "nothing was followed, though something was found in 6 frames in a row: they lie 2.0 s apart, perhaps too far for the "
        "tracker; analyse more frames a second, or have it wait longer (tracker iou:gap_seconds=5)"
    )


def test_the_remedy_that_the_warning_names_works():
    assert warnings_of(rate=Fraction(1, 2), tracker="iou:gap_seconds=5") == ()


def test_a_detector_that_is_asked_seldom_is_told_of_too():
    [warning] = warnings_of(rate=10, frames=100, tracker="iou", detect_every=20)
    assert "found in 5 frames in a row: they lie 2.0 s apart" in warning


@pytest.mark.parametrize(
    ("rate", "given"),
    [
        (25, {"tracker": Forgetful()}),
        (Fraction(1, 2), {"tracker": "iou", "detector": FixedDetector(but_not=(2, 4))}),
        (Fraction(1, 2), {"tracker": None}),
        (Fraction(1, 2), {"tracker": OrderTracker()}),
    ],
    ids=["frames near enough", "false alarms that come alone", "no tracker", "a tracker that bears it"],
)
def test_nothing_is_told_where_distance_is_not_the_reason(rate, given):
    assert warnings_of(rate=rate, **given) == ()
