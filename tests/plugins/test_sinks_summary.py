"""The sink `summary`: how a stream went, for people and for --resume."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from framehook import OptionError, OutputError, StreamInfo, StreamStatistics
from framehook_plugins.sinks.summary import SummarySink, read_complete

DOOR = StreamInfo(name="door", width=640, height=480, rate=Fraction(30000, 1001), duration_seconds=float("nan"), frames=300)
COUNTS = {"decoded": 300, "processed": 299, "damaged": 1, "detections": 512, "tracks": 4, "seconds": 2.5}


def summary(out: Path, *, settings=None, stream=DOOR, **statistics):
    """Return what a run with these statistics leaves in summary.json."""
    sink = SummarySink(out=out, settings=settings)
    sink.open(stream)
    sink.end(stream, StreamStatistics(stream=stream.name, **statistics))
    sink.close()
    return json.loads((out / stream.name / "summary.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_a_summary_says_what_the_stream_was_and_how_it_went(tmp_path):
    content = summary(tmp_path, **COUNTS, stage_seconds={"detect": 1.25}, warnings=("1 damaged packet left out",))
    assert content["complete"] is True
    assert content["stream"] == {
        "name": "door",
        "width": 640,
        "height": 480,
        "pixel_aspect": "1",
        "rate": "30000/1001",
        "duration_seconds": None,
        "frames": 300,
        "live": False,
        "location": None,
    }
    statistics = content["statistics"]
    assert {name: statistics[name] for name in COUNTS} == COUNTS
    assert statistics["stage_seconds"] == {"detect": 1.25}
    assert statistics["warnings"] == ["1 damaged packet left out"]


@pytest.mark.parametrize(
    ("statistics", "complete"),
    [
        ({}, True),
        ({"damaged": 9}, True),
        ({"interrupted": True}, False),
        ({"error": "the camera was lost"}, False),
        ({"lost_sinks": ("csv",)}, False),
    ],
    ids=["whole", "damaged", "interrupted", "failed", "lost a sink"],
)
def test_a_summary_is_complete_when_the_stream_was_analysed_to_its_end(tmp_path, statistics, complete):
    content = summary(tmp_path, **statistics)
    assert content["complete"] is complete
    assert read_complete(tmp_path / "door" / "summary.json") == (content if complete else None)


def test_options_of_any_kind_are_written_as_json(tmp_path):
    settings = {"out": Path("results"), "rate": Fraction(25, 2), "mtcnn": {"thresholds": (0.6, 0.7, 0.123456789)}, "every": None}
    assert summary(tmp_path, settings=settings)["options"] == {
        "out": "results",
        "rate": "25/2",
        "mtcnn": {"thresholds": [0.6, 0.7, 0.123456789]},
        "every": None,
    }


def test_versions_are_those_of_what_took_part_and_torch_is_not_imported_for_them():
    program = """
import sys, tempfile, pathlib, json
from framehook import StreamInfo, StreamStatistics
from framehook_plugins.sinks.summary import SummarySink
with tempfile.TemporaryDirectory() as folder:
    sink = SummarySink(out=pathlib.Path(folder))
    sink.open(StreamInfo(name="door", width=1, height=1))
    sink.end(StreamInfo(name="door", width=1, height=1), StreamStatistics(stream="door"))
    print(json.dumps(json.loads((pathlib.Path(folder) / "door/summary.json").read_text())["versions"]))
assert "torch" not in sys.modules and "cv2" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    versions = json.loads(run.stdout)
    assert {"framehook", "python", "numpy", "platform"} <= versions.keys()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_summary_of_an_earlier_run_is_gone_as_soon_as_the_stream_begins(tmp_path):
    summary(tmp_path)
    sink = SummarySink(out=tmp_path)
    sink.open(DOOR)
    assert not read_complete(tmp_path / "door" / "summary.json")
    sink.close()
    assert list((tmp_path / "door").iterdir()) == []


def test_nothing_but_the_summary_is_left(tmp_path):
    summary(tmp_path)
    assert [file.name for file in (tmp_path / "door").iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "true", '{"complete": 1}', '{"complete": false}', b"\xff\xfe"], ids=repr
)
def test_anything_else_than_a_complete_summary_is_not_complete(tmp_path, content):
    file = tmp_path / "summary.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_complete(file) is None


def test_one_file_cannot_hold_two_streams(tmp_path):
    sink = SummarySink(path="summary.json", out=tmp_path)
    sink.open(DOOR)
    sink.end(DOOR, StreamStatistics(stream="door"))
    with pytest.raises(OptionError, match=r"'summary.json' can hold one stream only, and 'gate' is the second; put \{stream\}"):
        sink.open(StreamInfo(name="gate", width=1, height=1))
    sink.close()
    assert read_complete(tmp_path / "summary.json")


def test_a_place_that_cannot_be_written_is_told_when_the_stream_begins(tmp_path):
    (tmp_path / "door").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write '.*summary.json'"):
        SummarySink(out=tmp_path).open(DOOR)


def test_a_folder_where_the_summary_should_be_is_one_clear_error(tmp_path):
    (tmp_path / "door" / "summary.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write '.*summary.json'"):
        SummarySink(out=tmp_path).open(DOOR)
