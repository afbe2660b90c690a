"""One file has one writer: who comes second is refused, and the first one's results stay whole."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from framehook import OptionError, OutputError, Pipeline, StreamInfo, StreamStatistics
from framehook.testing import FixedDetector, grey_image, synthetic_video
from framehook_plugins.sinks.detections_csv import CsvSink
from framehook_plugins.sinks.files import StreamFiles

PICTURE = grey_image(64, 48, value=40)
DOOR, YARD = (StreamInfo(name=name, width=64, height=48) for name in ("door", "yard"))
TAKEN = r"is being written already, by another session, run or sink; give each a path of its own, with \{stream\} in it"


def pipeline(out, *sinks):
    return Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=sinks, out=out)


def streams_in(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [row["stream"] for row in csv.DictReader(file)]


def files(out, make, *, path="{stream}.txt"):
    return StreamFiles(lambda path, stream: make(), path=path, out=out)


def test_the_second_of_two_sessions_that_would_write_one_file_is_refused(tmp_path):
    both = pipeline(tmp_path, "csv:path=all.csv")
    with both.session("door") as door, both.session("yard") as yard:
        door.push(PICTURE, seconds=0)
        with pytest.raises(OutputError, match=rf"'.*all\.csv' {TAKEN}"):
            yard.push(PICTURE, seconds=0)
        door.push(PICTURE, seconds=1)
    assert streams_in(tmp_path / "all.csv") == ["door", "door"]


HOLDING = """
import sys
from framehook import Pipeline
from framehook.testing import FixedDetector, grey_image
pipeline = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=["csv:path=all.csv"], out=sys.argv[1])
with pipeline.session("door") as door:
    door.push(grey_image(64, 48), seconds=0)
    print("writing", flush=True)
    sys.stdin.readline()
    door.push(grey_image(64, 48), seconds=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks in another way")
def test_a_file_that_another_process_writes_is_left_alone(tmp_path):
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(OutputError, match=r"all\.csv' is being written into by another process; wait for its end"):
            list(pipeline(tmp_path, "csv:path=all.csv").run([PICTURE]))
        other.communicate("go on\n", timeout=60)
    assert streams_in(tmp_path / "all.csv") == ["door", "door"]
    list(pipeline(tmp_path, "csv:path=all.csv").run([PICTURE]))
    assert streams_in(tmp_path / "all.csv") == ["arrays"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of files")
def test_a_disk_that_becomes_full_leaves_whole_lines(tmp_path):
    script = """
import resource, signal, sys
from framehook import OutputError, Pipeline
from framehook.testing import FixedDetector, grey_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
pipeline = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=["csv"], out=sys.argv[1])
try:
    list(pipeline.run([grey_image(64, 48)] * 100))
except OutputError:
    sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == 3
    lines = (tmp_path / "arrays" / "detections.csv").read_text().splitlines(keepends=True)
    assert len(lines) > 10
    assert all(line.endswith("\n") and line.count(",") == lines[0].count(",") for line in lines)


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_that_names_no_file_is_refused(tmp_path, path):
    with pytest.raises(OptionError, match="names no file; give it a name"):
        CsvSink(path=path, out=tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_the_recording_that_is_read_is_never_written_over(tmp_path, suffix):
    recording = synthetic_video(tmp_path / "annotated.mp4")
    if suffix == ".png":
        PillowImage.fromarray(PICTURE).save(recording := tmp_path / "annotated.png")
    before = recording.read_bytes()
    run = pipeline(tmp_path, "video:path={stream}.mp4").run(recording)
    with pytest.raises(OutputError, match=rf"annotated\{suffix}': it is the file that is being analysed; choose another folder"):
        list(run)
    assert recording.read_bytes() == before


@pytest.mark.parametrize("sink", ["csv", "jsonl", "json", "tracks", "video", "summary"])
def test_two_sessions_of_one_name_at_a_time_are_refused_and_one_after_the_other_are_not(tmp_path, sink):
    each = pipeline(tmp_path, sink)
    with each.session() as first, each.session() as second:
        first.push(PICTURE, seconds=0)
        with pytest.raises(OutputError, match=TAKEN):
            second.push(PICTURE, seconds=0)
    (file,) = (tmp_path / "session").iterdir()
    assert file.stat().st_size
    with each.session() as third:
        third.push(PICTURE, seconds=0)


def test_a_pipeline_runs_again_into_the_files_of_its_first_run(tmp_path):
    again = pipeline(tmp_path, "csv:path=all.csv", "summary")
    for _ in range(2):
        assert len(list(again.run([PICTURE] * 3))) == 3
    assert len(streams_in(tmp_path / "all.csv")) == 3


def test_a_file_is_known_by_whatever_path_it_is_reached(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = CsvSink(path=f"{tmp_path}/all.csv")
    first.open(DOOR)
    with pytest.raises(OutputError, match=TAKEN):
        CsvSink(path="folder/../all.csv").open(YARD)
    first.close()


def test_a_file_that_has_ended_or_could_not_be_opened_or_finished_is_free(tmp_path):
    class Broken:
        def close(self):
            raise OSError("the disk is gone")

    def fail():
        raise OutputError("no such folder")

    with pytest.raises(OutputError, match="no such folder"):
        files(tmp_path, fail).open(DOOR)
    for finish in (lambda broken: broken.end(DOOR), lambda broken: broken.close()):
        broken = files(tmp_path, Broken)
        broken.open(DOOR)
        with pytest.raises(OSError, match="the disk is gone"):
            finish(broken)
    sink = CsvSink(path="{stream}.txt", out=tmp_path)
    sink.open(DOOR)
    sink.end(DOOR, StreamStatistics(stream="door"))
    files(tmp_path, io.StringIO).open(DOOR)


def test_who_was_refused_does_not_free_the_file_for_a_third(tmp_path):
    first, second, third = (files(tmp_path, io.StringIO) for _ in range(3))
    first.open(DOOR)
    for other in (second, third):
        with pytest.raises(OutputError, match=TAKEN):
            other.open(DOOR)
        other.close()


def test_a_sink_that_was_forgotten_without_being_closed_holds_no_file(tmp_path):
    forgotten = files(tmp_path, io.StringIO)
    forgotten.open(DOOR)
    del forgotten
    files(tmp_path, io.StringIO).open(DOOR)


@pytest.mark.skipif(sys.platform == "win32", reason="has no /dev/null")
def test_a_device_may_be_written_by_several(tmp_path):
    sinks = [CsvSink(path="/dev/null", out=tmp_path) for _ in range(2)]
    for sink in sinks:
        sink.open(DOOR)
    for sink in sinks:
        sink.close()
    assert not Path("/dev/null").is_file()


HOLDS = "import sys; from pathlib import Path; from framehook_plugins.sinks.folders import hold; hold(Path(sys.argv[1]))"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_another_process_is_kept_out_of_a_streams_folder_until_the_stream_ends(tmp_path):
    def another_writes(stream):
        return subprocess.run([sys.executable, "-c", HOLDS, str(tmp_path / stream)], capture_output=True, text=True).stderr

    each = pipeline(tmp_path, "csv", "jsonl")
    with each.session("door") as door:
        door.push(PICTURE, seconds=0)
        assert f"'{tmp_path / 'door'}' is being written into by another process; wait for its end" in another_writes("door")
        assert not another_writes("yard")
    assert not another_writes("door")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_a_folder_that_another_process_writes_into_keeps_its_files(tmp_path):
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "detections.csv").write_text("theirs")
    waits = [sys.executable, "-c", f"{HOLDS}; print('held', flush=True); input()", str(tmp_path / "door")]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pipeline(tmp_path, "csv").session("door") as door, pytest.raises(OutputError, match="another process"):
            door.push(PICTURE, seconds=0)
        other.communicate("\n")
    assert (tmp_path / "door" / "detections.csv").read_text() == "theirs"
