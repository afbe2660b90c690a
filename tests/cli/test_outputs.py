import re
from dataclasses import replace

import pytest
from rich.progress import Progress

from framehook import Detections, FrameResult, StreamInfo
from framehook.testing import grey_image, make_frame
from framehook_cli import outputs

STREAM = StreamInfo(name="door", width=64, height=48, duration_seconds=10.0)


def results(*seconds, stream=STREAM):
    picture = grey_image(64, 48)
    frames = [make_frame(picture, seconds=second, stream=stream) for second in seconds]
    return [FrameResult(frame=frame, detections=Detections.empty()) for frame in frames]


@pytest.fixture
def said(monkeypatch, capsys):
    """Show some results elsewhere than on a terminal, and return the lines that were said, without their rates."""
    monkeypatch.setattr(outputs, "_LINE_EVERY_SECONDS", -1.0)

    def show(shown, **span):
        with outputs.meter(quiet=False, **span) as advance:
            for result in shown:
                advance(result)
        return [re.sub(r", [\d.]+ frames/s$", "", line) for line in capsys.readouterr().err.splitlines()]

    return show


@pytest.mark.parametrize(
    ("seconds", "span", "line"),
    [
        ((0.0, 4.0), {}, "door: at 4.0 of 10.0 s, 2 frames"),
        ((95_443.0, 95_447.0), {}, "door: at 95447.0 of 95453.0 s, 2 frames"),
        ((3.0, 4.0), {"start": 3.0}, "door: at 4.0 of 10.0 s, 2 frames"),
        ((3.0, 4.0), {"start": 3.0, "end": 6.0}, "door: at 4.0 of 6.0 s, 2 frames"),
        ((0.0, 12.0), {}, "door: at 12.0 s, 2 frames"),
    ],
    ids=["from 0", "a broadcast's clock", "a start", "a span", "longer than stated"],
)
def test_a_line_says_how_far_a_stream_is(said, seconds, span, line):
    assert said(results(*seconds), **span)[-1] == line


def test_a_stream_without_an_end_has_none_in_its_lines(said):
    live = replace(STREAM, duration_seconds=None, live=True)
    assert said(results(1.0, stream=live)) == ["door: at 1.0 s, 1 frame"]


def test_of_files_that_come_one_after_another_the_bar_shows_those_that_are_not_done():
    bar = Progress()
    meter = outputs.Meter(start=0.0, end=None, bar=bar)
    for name in ("a", "b", "c"):
        for result in results(0.0, 9.96 if name != "b" else 5.0, stream=replace(STREAM, name=name)):
            meter.advance(result)
    assert [task.description for task in bar.tasks] == ["b", "c"]


def test_of_pictures_the_bar_shows_the_last():
    bar = Progress()
    meter = outputs.Meter(start=0.0, end=None, bar=bar)
    for name in ("a", "b", "c"):
        for result in results(0.0, stream=replace(STREAM, name=name, frames=1, duration_seconds=None)):
            meter.advance(result)
    assert [task.description for task in bar.tasks] == ["c"]


@pytest.mark.parametrize(("seconds", "share"), [((0.0, 5.0), 50), ((95_443.0, 95_448.0), 50), ((3.0, 6.0), 30)])
def test_a_bar_fills_from_the_first_frame_to_the_end(seconds, share):
    bar = Progress()
    meter = outputs.Meter(start=0.0, end=None, bar=bar)
    for result in results(*seconds):
        meter.advance(result)
    (task,) = bar.tasks
    assert task.percentage == pytest.approx(share)
    assert task.fields["frames"] == 2
