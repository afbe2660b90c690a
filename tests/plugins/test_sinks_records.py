"""The sinks `csv`, `jsonl`, `json` and `tracks`: results in, files that others can read out."""

import csv
import json
import logging
import os
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import framehook
from framehook import Detections, Event, Frame, FrameResult, OptionError, OutputError, StreamInfo, StreamStatistics, UsageError
from framehook_plugins.sinks.detections_csv import CsvSink
from framehook_plugins.sinks.detections_json import JsonLinesSink, JsonSink
from framehook_plugins.sinks.tracks_csv import TracksSink

BASE = ["stream", "frame", "pts_seconds", "track", "label", "x1", "y1", "x2", "y2", "score"]
RECORD_SINKS = [CsvSink, JsonLinesSink, JsonSink, TracksSink]
EVERY_SINK = pytest.mark.parametrize("make", RECORD_SINKS, ids=["csv", "jsonl", "json", "tracks"])
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or writes to /dev/full")


class Grey:
    def rgb(self):
        return np.full((48, 64, 3), 128, np.uint8)

    def scaled(self, width, height):
        return np.full((height, width, 3), 128, np.uint8)


def stream(name="door"):
    return StreamInfo(name=name, width=64, height=48, rate=Fraction(30000, 1001))


def faces(n=1, **attributes):
    boxes = np.arange(4 * n, dtype=float).reshape(n, 4) + 0.125
    return Detections(boxes=boxes, scores=np.full(n, 0.98766), tracks=np.arange(n), attributes=attributes)


def result(index, detections, *, of="door", events=()):
    frame = Frame(stream=stream(of), index=index, pts=index * 1001, time_base=Fraction(1, 30000), picture=Grey())
    return FrameResult(frame=frame, detections=detections, events=events)


def written(sink, *results, names=("door",)):
    """Take results through a sink as a run does."""
    for name in names:
        sink.open(stream(name))
    for each in results:
        sink.write(each)
    for name in names:
        sink.end(stream(name), StreamStatistics(stream=name))
    sink.close()


def rows(path: Path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_csv_has_a_row_for_each_detection(tmp_path):
    found = faces(2, age=[34.5678, 8.0], age_std=[4.2, np.nan], gender=["female", ""], gender_score=[0.97, np.nan])
    written(CsvSink(out=tmp_path), result(0, found), result(1, found[:0]), result(2, found[1:]))
    assert rows(tmp_path / "door" / "detections.csv") == [
        [*BASE, "age", "age_std", "gender", "gender_score"],
        ["door", "0", "0.000000", "0", "face", "0.12", "1.12", "2.12", "3.12", "0.9877", "34.568", "4.2", "female", "0.97"],
        ["door", "0", "0.000000", "1", "face", "4.12", "5.12", "6.12", "7.12", "0.9877", "8.0", "", "", ""],
        ["door", "2", "0.066733", "1", "face", "4.12", "5.12", "6.12", "7.12", "0.9877", "8.0", "", "", ""],
    ]


def test_csv_of_a_clip_without_a_face_has_a_header_with_the_attributes(tmp_path):
    nobody = faces(0, age=np.empty(0), gender=np.empty(0, "U6"), landmarks=np.empty((0, 5, 2)))
    written(CsvSink(out=tmp_path), result(0, nobody))
    assert rows(tmp_path / "door" / "detections.csv") == [[*BASE, "age", "gender"]]


def test_csv_of_a_stream_without_results_has_the_base_header(tmp_path):
    written(CsvSink(out=tmp_path))
    assert (tmp_path / "door" / "detections.csv").read_bytes() == ",".join(BASE).encode() + b"\n"


def test_csv_leaves_out_an_attribute_that_comes_late_and_says_so_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        written(CsvSink(out=tmp_path), result(0, faces()), result(1, faces(mood=["glad"])), result(2, faces(mood=["sad"])))
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["attribute 'mood' is left out"]
    assert [len(row) for row in rows(tmp_path / "door" / "detections.csv")] == [10, 10, 10, 10]


NOBODY_YET = [Detections.empty(), faces(0), faces(0, outline=np.empty(0), kind=np.empty(0, "U3"))]


@pytest.mark.parametrize("nobody", NOBODY_YET, ids=["empty", "no attributes", "made of empty lists"])
def test_frames_in_which_nothing_is_found_yet_decide_no_columns(tmp_path, nobody, caplog):
    found = faces(outline=np.ones((1, 3, 2)), kind=["cat"], blur=[0.5])
    for sink in (CsvSink(out=tmp_path), TracksSink(out=tmp_path)):
        written(sink, result(0, nobody), result(1, found), result(2, nobody), result(3, found))
    assert [row[10:] for row in rows(tmp_path / "door" / "detections.csv")] == [["kind", "blur"], ["cat", "0.5"], ["cat", "0.5"]]
    assert [row[6:] for row in rows(tmp_path / "door" / "tracks.csv")] == [["kind", "blur"], ["cat", "0.5"]]
    assert not caplog.records


def test_csv_leaves_a_cell_empty_where_an_attribute_has_several_values_later(tmp_path):
    written(CsvSink(out=tmp_path), result(0, faces(pose=[1.0])), result(1, faces(pose=[[1.0, 2.0]])))
    assert [row[-1] for row in rows(tmp_path / "door" / "detections.csv")] == ["pose", "1.0", ""]


@pytest.mark.parametrize(("make", "name"), [(CsvSink, "score"), (TracksSink, "frames")], ids=["csv", "tracks"])
@pytest.mark.parametrize("n", [0, 1])
def test_an_attribute_called_like_a_column_is_refused(tmp_path, make, name, n):
    sink = make(out=tmp_path)
    with pytest.raises(UsageError, match=rf"attribute '{name}' cannot be written to '.*\.csv', which has a column of that name"):
        written(sink, result(0, faces(n, **{name: np.full(n, 0.25)})))
    sink.close()


def test_csv_leaves_a_cell_empty_where_a_later_frame_lacks_the_attribute(tmp_path):
    written(CsvSink(out=tmp_path), result(0, faces(mood=["glad"])), result(1, faces()))
    assert [row[-1] for row in rows(tmp_path / "door" / "detections.csv")] == ["mood", "glad", ""]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(34.5678), "34.568"),
        (1734567890.123, "1734567890.123"),
        (0.000012345678, "0.000012346"),
        (1e20, "100000000000000000000.0"),
        (-0.5, "-0.5"),
        (np.inf, ""),
        (np.nan, ""),
        (np.int64(-7), "-7"),
        (True, "true"),
        ("Zoë, 王", "Zoë, 王"),
        ('say "hi"', 'say "hi"'),
        ("two\nlines\r\nand\rmore", "two\nlines\r\nand\rmore"),
        ("-", "-"),
    ],
)
def test_csv_writes_an_attribute_so_that_it_reads_back(tmp_path, value, text):
    written(CsvSink(out=tmp_path), result(0, faces(it=[value])))
    assert rows(tmp_path / "door" / "detections.csv")[1][-1] == text


@pytest.mark.parametrize("name", ["=1+2", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx"])
def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path, name):
    for sink in (CsvSink(out=tmp_path, path="d.csv"), TracksSink(out=tmp_path, path="t.csv")):
        written(sink, result(0, faces(nick=[name]), of=name), names=[name])
    for file in ("d.csv", "t.csv"):
        row = rows(tmp_path / file)[1]
        assert (row[0], row[-1]) == (f"'{name}", f"'{name}")


def test_times_are_exact_to_the_microsecond_after_a_week(tmp_path):
    index = round(7 * 86400 * 30000 / 1001)
    written(CsvSink(out=tmp_path), result(index, faces()))
    seconds = rows(tmp_path / "door" / "detections.csv")[1][2]
    assert abs(Fraction(seconds) - Fraction(index * 1001, 30000)) < Fraction(1, 1_000_000)


def test_a_box_edge_just_below_zero_is_no_negative_zero(tmp_path):
    written(CsvSink(out=tmp_path), result(0, Detections(boxes=[[-0.001, 0, 1, 1]])))
    assert rows(tmp_path / "door" / "detections.csv")[1][5] == "0.00"


def lines(path: Path):
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_has_an_object_for_each_frame_with_all_attributes(tmp_path):
    event = Event(kind="line-crossed", seconds=0.0333666, track=1, details={"line": (1, 2), "at": Path("door"), "x": np.nan})
    found = faces(1, age=np.array([34.5678], np.float32), gender=["weiblich ♀"], landmarks=np.full((1, 2, 2), 1.5))
    written(JsonLinesSink(out=tmp_path), result(0, faces(0)), result(1, found, events=(event,)))
    assert lines(tmp_path / "door" / "detections.jsonl") == [
        {"stream": "door", "frame": 0, "pts_seconds": 0.0, "events": [], "detections": []},
        {
            "stream": "door",
            "frame": 1,
            "pts_seconds": 0.033367,
            "events": [
                {"kind": "line-crossed", "seconds": 0.033367, "track": 1, "details": {"line": [1, 2], "at": "door", "x": None}}
            ],
            "detections": [
                {
                    "track": 0,
                    "label": "face",
                    "box": [0.12, 1.12, 2.12, 3.12],
                    "score": 0.9877,
                    "attributes": {"age": 34.568, "gender": "weiblich ♀", "landmarks": [[1.5, 1.5], [1.5, 1.5]]},
                }
            ],
        },
    ]
    assert "♀" in (tmp_path / "door" / "detections.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_jsonl_is_strictly_valid_where_numbers_are_missing(tmp_path, missing):
    written(JsonLinesSink(out=tmp_path), result(0, faces(age=[missing], pose=[[1.0, missing]])))
    (detection,) = lines(tmp_path / "door" / "detections.jsonl")[0]["detections"]
    assert detection["attributes"] == {"age": None, "pose": [1.0, None]}


def test_a_box_or_score_that_is_not_finite_is_null_in_json_and_empty_in_csv(tmp_path):
    found = Detections(boxes=[[-np.inf, 2, np.inf, np.nan]], scores=[np.nan])
    for sink in (CsvSink(out=tmp_path), JsonLinesSink(out=tmp_path), JsonSink(out=tmp_path)):
        written(sink, result(0, found))
    assert rows(tmp_path / "door" / "detections.csv")[1][5:] == ["", "2.00", "", "", ""]
    (detection,) = lines(tmp_path / "door" / "detections.jsonl")[0]["detections"]
    assert (detection["box"], detection["score"]) == ([None, 2.0, None, None], None)
    assert document(tmp_path / "door" / "detections.json")["results"][0]["detections"] == [detection]


@pytest.mark.parametrize(("seconds", "written_as"), [(np.float32(1.5), 1.5), (Fraction(3, 2), 1.5), (np.nan, None)], ids=repr)
def test_an_event_may_hold_numbers_of_any_type(tmp_path, seconds, written_as):
    event = Event(kind="seen", seconds=seconds, track=np.int64(7), details={"n": np.int64(3)})
    written(JsonLinesSink(out=tmp_path), result(0, faces(), events=(event,)))
    assert lines(tmp_path / "door" / "detections.jsonl")[0]["events"] == [
        {"kind": "seen", "seconds": written_as, "track": 7, "details": {"n": 3}}
    ]


def test_each_result_can_be_read_as_soon_as_it_was_written(tmp_path):
    sink = JsonLinesSink(out=tmp_path)
    sink.open(stream())
    for i in range(3):
        sink.write(result(i, faces()))
        assert len(lines(tmp_path / "door" / "detections.jsonl")) == i + 1
    sink.close()


def document(path: Path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_json_is_one_document_with_the_objects_of_jsonl(tmp_path):
    results = [result(i, faces(i % 3, age=np.full(i % 3, np.nan))) for i in range(5)]
    written(JsonSink(out=tmp_path), *results)
    written(JsonLinesSink(out=tmp_path), *results)
    content = document(tmp_path / "door" / "detections.json")
    assert content["format"] == "framehook-1"
    assert content["results"] == lines(tmp_path / "door" / "detections.jsonl")
    assert [info["rate"] for info in content["streams"]] == ["30000/1001"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_is_valid_when_a_run_is_broken_off_and_the_sink_closed(tmp_path, count):
    sink = JsonSink(out=tmp_path)
    sink.open(stream())
    for i in range(count):
        sink.write(result(i, faces()))
    sink.close()
    assert len(document(tmp_path / "door" / "detections.json")["results"]) == count


def test_tracks_has_a_row_for_each_track(tmp_path):
    written(
        TracksSink(out=tmp_path),
        result(0, faces(1, age=[30.0], gender=["male"])),
        result(30, faces(2, age=[31.23456, np.nan], gender=["male", ""])),
    )
    assert rows(tmp_path / "door" / "tracks.csv") == [
        ["stream", "track", "label", "first_seconds", "last_seconds", "frames", "age", "gender"],
        ["door", "0", "face", "0.000000", "1.001000", "2", "31.235", "male"],
        ["door", "1", "face", "1.001000", "1.001000", "1", "", ""],
    ]


def test_a_track_that_is_over_is_written_while_the_stream_goes_on(tmp_path):
    sink = TracksSink(out=tmp_path)
    sink.open(stream())
    sink.write(result(0, faces(1)))
    sink.write(result(30 * 601, faces(0)))
    assert len(rows(tmp_path / "door" / "tracks.csv")) == 2
    sink.close()
    assert len(rows(tmp_path / "door" / "tracks.csv")) == 2


def test_tracks_of_a_run_that_is_broken_off_are_written_when_the_sink_is_closed(tmp_path):
    sink = TracksSink(out=tmp_path)
    sink.open(stream())
    sink.write(result(0, faces(3)))
    sink.close()
    assert [row[1] for row in rows(tmp_path / "door" / "tracks.csv")] == ["track", "0", "1", "2"]


def test_tracks_without_a_track_has_a_header(tmp_path):
    written(TracksSink(out=tmp_path), result(0, faces(0, age=np.empty(0))))
    (header,) = rows(tmp_path / "door" / "tracks.csv")
    assert header == ["stream", "track", "label", "first_seconds", "last_seconds", "frames", "age"]


def streams_in(path: Path):
    """Return the streams that a file speaks of, in the order of its rows or objects."""
    if path.suffix == ".csv":
        return [row[0] for row in rows(path)[1:]]
    objects = lines(path) if path.suffix == ".jsonl" else document(path)["results"]
    return [each["stream"] for each in objects]


@EVERY_SINK
def test_streams_that_take_turns_go_into_files_of_their_own(tmp_path, make):
    written(make(out=tmp_path), *(result(i, faces(), of="ab"[i % 2]) for i in range(6)), names=["a", "b"])
    for name in ("a", "b"):
        (file,) = (tmp_path / name).iterdir()
        assert set(streams_in(file)) == {name}


@pytest.mark.parametrize(
    ("make", "file"), [(CsvSink, "all.csv"), (JsonLinesSink, "all.jsonl"), (JsonSink, "all.json")], ids=["csv", "jsonl", "json"]
)
def test_streams_that_take_turns_can_share_a_file(tmp_path, make, file):
    sink = make(path=file, out=tmp_path)
    sink.open(stream("a"))
    sink.write(result(0, faces(), of="a"))
    sink.open(stream("b"))
    sink.write(result(0, faces(), of="b"))
    sink.end(stream("a"), StreamStatistics(stream="a"))
    sink.write(result(1, faces(), of="b"))
    sink.open(stream("c"))
    sink.write(result(0, faces(), of="c"))
    sink.close()
    assert streams_in(tmp_path / file) == ["a", "b", "b", "c"]


def test_tracks_of_all_streams_can_share_a_file(tmp_path):
    written(TracksSink(path="all.csv", out=tmp_path), result(0, faces(), of="a"), result(0, faces(2), of="b"), names=["a", "b"])
    assert streams_in(tmp_path / "all.csv") == ["a", "b", "b"]


@EVERY_SINK
def test_a_sink_can_be_used_for_a_second_run(tmp_path, make):
    sink = make(out=tmp_path)
    written(sink, result(0, faces()), result(1, faces(2)))
    written(sink, result(0, faces()))
    (file,) = (tmp_path / "door").iterdir()
    assert len(streams_in(file)) == 1


@EVERY_SINK
def test_closing_twice_is_harmless(tmp_path, make):
    sink = make(out=tmp_path)
    written(sink, result(0, faces()))
    (file,) = (tmp_path / "door").iterdir()
    before = file.read_bytes()
    sink.close()
    assert file.read_bytes() == before


@linux_only
@EVERY_SINK
def test_a_stream_that_has_ended_leaves_no_file_open(tmp_path, make):
    sink = make(out=tmp_path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib's iterdir holds one open itself
    for name in map(str, range(20)):
        sink.open(stream(name))
        sink.write(result(0, faces(), of=name))
        sink.end(stream(name), StreamStatistics(stream=name))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
    sink.close()


@pytest.mark.parametrize(
    "name",
    ["a,b", 'say "hi"', "two\nlines", "Zoë 王", "rtsp://user@camera/1", "../../etc", "..", "", "x" * 400, "bad\udcffbyte", "a/b"],
    ids=ascii,
)
@EVERY_SINK
def test_any_stream_name_gets_a_file_below_the_output_folder(tmp_path, make, name):
    written(make(out=tmp_path), result(0, faces(), of=name), names=[name])
    (folder,) = tmp_path.iterdir()
    (file,) = folder.iterdir()
    assert streams_in(file)[0] in (name, name.replace("\udcff", "\\udcff"))


def test_streams_whose_names_no_file_can_have_do_not_share_one(tmp_path):
    names = ["a/b", "a_b", "a//b", "x" * 400, "x" * 401]
    written(CsvSink(out=tmp_path), *(result(0, faces(), of=name) for name in names), names=names)
    assert len(list(tmp_path.iterdir())) == len(names)
    assert (tmp_path / "a_b" / "detections.csv").is_file()


def test_a_path_can_be_absolute_and_name_the_stream_anywhere(tmp_path):
    written(CsvSink(path=f"{tmp_path}/new/of-{{stream}}.csv", out=Path("elsewhere")), result(0, faces()))
    assert (tmp_path / "new" / "of-door.csv").is_file()


def test_a_path_can_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    written(CsvSink(path="~/all.csv"), result(0, faces()))
    assert (tmp_path / "all.csv").is_file()


@EVERY_SINK
def test_a_path_with_an_unknown_field_is_refused(make):
    with pytest.raises(OptionError, match=r"unknown field \{steam\}; the only one is \{stream\}"):
        make(path="{steam}/x.csv")


@EVERY_SINK
def test_a_place_that_is_taken_by_a_file_is_one_clear_error(tmp_path, make):
    (tmp_path / "door").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write '.*door.*': .*; make room or allow writing there"):
        make(out=tmp_path).open(stream())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
@EVERY_SINK
def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path, make):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        make(out=tmp_path).open(stream())


@linux_only
@EVERY_SINK
def test_a_full_disk_is_one_clear_error(make):
    sink = make(path="/dev/full")
    with pytest.raises(OutputError, match="cannot write '/dev/full': No space left on device"):
        written(sink, result(0, faces()))
    with pytest.raises(OutputError, match="No space left"):
        sink.close()
    sink.close()


def test_one_file_that_cannot_be_finished_does_not_keep_the_others_from_it(tmp_path, monkeypatch):
    sink = JsonSink(out=tmp_path)
    for name in ("a", "b", "c"):
        sink.open(stream(name))
    monkeypatch.setattr(sink._files.of(stream("b"))._file, "write", fail_for_lack_of_space)
    with pytest.raises(OutputError, match="disk is full"):
        sink.close()
    for name in ("a", "c"):
        assert document(tmp_path / name / "detections.json")["results"] == []


def fail_for_lack_of_space(text):
    raise OutputError("disk is full")


@EVERY_SINK
def test_a_result_of_a_stream_that_was_not_opened_is_an_error(tmp_path, make):
    with pytest.raises(UsageError, match=r"stream 'door' is not open in this sink: call open\(\)"):
        make(out=tmp_path).write(result(0, faces()))


@EVERY_SINK
def test_two_streams_of_one_name_are_an_error(tmp_path, make):
    sink = make(out=tmp_path)
    sink.open(stream())
    with pytest.raises(UsageError, match="two streams are called 'door'"):
        sink.open(stream())
    sink.close()


@EVERY_SINK
def test_sinks_keep_the_contract(tmp_path, make):
    assert isinstance(make(out=tmp_path), framehook.StreamSink)
