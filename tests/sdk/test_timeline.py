from fractions import Fraction

import pytest

from framehook.timeline import Timeline


def timeline(**changed):
    usual = {"begins": 0, "span": (None, None), "stated_seconds": 4.0, "exact": True, "listed": False}
    return Timeline(Fraction(1, 100), **usual | changed)


def test_a_frame_without_a_time_starts_where_the_one_before_ends():
    times = timeline(begins=20)
    assert [times.time_of(pts, 4) for pts in (None, 40, None)] == [20, 40, 44]
    assert times.damage.untimed == 2


@pytest.mark.parametrize(
    ("listed", "start", "told"), [(False, None, 1), (True, None, 0), (False, 300, 0)], ids=["told", "listed", "before the start"]
)
def test_a_time_without_frames_is_told_unless_all_frames_are_listed_or_it_is_not_wanted(listed, start, told):
    times = timeline(listed=listed, span=(start, None))
    for pts in (0, 4, 200):
        times.time_of(pts, 4)
    assert len(times.damage.warnings()) == told


def test_damage_without_a_time_is_where_the_next_frame_would_be():
    times = timeline(span=(50, None))
    times.time_of(96, 4)
    assert (times.note_damage(None), times.damage.count) == (100, 1)
    assert (times.note_damage(10), times.damage.count) == (10, 1)


def test_the_first_frame_shown_has_the_least_time_where_they_are_stated_in_coded_order():
    times = timeline(in_coded_order=True)
    seen = []
    for dts, shown in ((0, []), (4, []), (8, [900]), (12, [None, 900]), (None, [900])):
        times.stated_by_packet(900, dts)
        seen += [times.time_of(pts, 4) for pts in shown]
    assert seen == [0, 4, 8, 12]
    times.stated_by_packet(None, 16)
    times.forget(times.stated_by_packet(None, 20))
    times.stated_by_packet(None, 24)
    assert [times.time_of(None, 4) for _ in range(2)] == [16, 24]


def test_times_that_go_back_are_told():
    times = timeline()
    backward = []
    for pts in (0, 40, 20, 24, 24, 4):
        times.time_of(pts, 4)
        backward.append(times.went_back)
    assert backward == [False, False, True, False, False, True]
    assert times.damage.warnings()[-1] == "times go back 2 times, first to 0.20 s: recordings were joined, or a clock was set"


@pytest.mark.parametrize(
    ("exact", "last", "early"),
    [(True, 382, True), (True, 388, False), (False, 342, True), (False, 348, False)],
    ids=["14 cs early", "8 cs early", "54 cs early, of the container", "48 cs early, of the container"],
)
def test_an_end_before_the_stated_one_is_told(exact, last, early):
    times = timeline(exact=exact)
    times.time_of(last, 4)
    times.note_end()
    assert (times.damage.end is not None) is early
