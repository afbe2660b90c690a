import pytest

from framehook.selection import Selection
from framehook.testing import grey_image, make_frame


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        ({}, list(range(20))),
        ({"every": 7}, [0, 7, 14]),
        ({"fps": 5.0}, [0, 5, 10, 15]),
        ({"fps": 10.0}, [0, 3, 5, 8, 10, 13, 15, 18]),
        ({"start_seconds": 0.2, "end_seconds": 0.4}, [5, 6, 7, 8, 9]),
        ({"start_seconds": 0.2, "every": 10}, [5, 15]),
    ],
    ids=["all", "every", "fps", "fps that does not divide", "part", "part and every"],
)
def test_a_selection_takes_frames_by_time_and_number(selection, wanted):
    frames = (make_frame(grey_image(2, 2), index=i, seconds=i / 25) for i in range(20))
    assert [frame.index for frame in Selection(**selection).of(frames) if frame] == wanted


def test_a_beat_starts_anew_where_the_clock_does():
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 3600.0, 0.5, 0.6, 0.7, 0.0, 0.1, 0.2]
    frames = (make_frame(grey_image(2, 2), index=i, seconds=seconds) for i, seconds in enumerate(times))
    wanted = [frame.index for frame in Selection(fps=5.0).of(frames) if frame]
    assert wanted == [0, 2, 4, 5, 6, 8, 9, 11]


def test_without_a_start_times_below_zero_are_frames_too():
    frames = [make_frame(grey_image(2, 2), index=i, seconds=i - 3.0) for i in range(6)]
    assert [frame.index for frame in Selection().of(iter(frames)) if frame] == list(range(6))
    assert [frame.index for frame in Selection(start_seconds=1.0).of(iter(frames)) if frame] == [4, 5]


def test_the_span_of_a_live_stream_counts_from_its_first_frame():
    frames = [make_frame(grey_image(2, 2), index=i, seconds=7000.0 + i) for i in range(9)]
    selection = Selection(start_seconds=2.0, end_seconds=5.0)
    assert [frame.index for frame in selection.of(iter(frames), live=True) if frame] == [2, 3, 4]
    assert [frame for frame in selection.of(iter(frames)) if frame] == []
