import csv
import json
import re
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from framehook.testing import synthetic_video
from framehook_cli.main import run

FAST = ["--detector", "mtcnn:min_face=40", "--device", "cpu"]


@pytest.fixture
def clip(tmp_path):
    """Ten grey frames: quick, and without a face."""
    return synthetic_video(tmp_path / "grey.mp4", frames=10, width=64, height=48)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def failure(capsys, *arguments):
    """Run the command line and return its exit status and the last line on stderr."""
    status = run([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return status, lines[-1]


def test_a_clip_without_a_face_gives_whole_files_without_rows(tmp_path, clip, capsys):
    assert run(["analyze", str(clip), "--out", str(tmp_path / "out"), *FAST]) == 0
    folder = tmp_path / "out" / "grey"
    assert {path.name for path in folder.iterdir()} == {"detections.csv", "detections.jsonl", "tracks.csv", "summary.json"}
    header = "stream,frame,pts_seconds,track,label,x1,y1,x2,y2,score,age,age_std,gender,gender_score\n"
    assert (folder / "detections.csv").read_text() == header
    assert len((folder / "detections.jsonl").read_text().splitlines()) == 10
    tracks = "stream,track,label,first_seconds,last_seconds,frames,age,age_std,gender,gender_score\n"
    assert (folder / "tracks.csv").read_text() == tracks
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["complete"] is True
    said = capsys.readouterr().out
    assert said.startswith("grey: 10 frames at ")
    assert ", 0 detections, 0 tracks -> " in said


def test_one_thing_is_not_told_as_several(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 60, 3), 128, np.uint8))

    assert run(["analyze", str(tmp_path / "grey.png"), "--out", str(tmp_path / "out"), *FAST]) == 0

    assert capsys.readouterr().out.startswith("grey: 1 frame at ")


def test_frames_too_far_apart_to_follow_a_face_are_told_of_with_the_remedy(tmp_path, shared_videos, capsys):
    arguments = [
        "analyze",
        str(shared_videos / "wave.mp4"),
        "--out",
        str(tmp_path),
        "--fps",
        "0.5",
        "--classifier",
        "none",
        *FAST,
    ]
    assert run(arguments) == 0
    assert rows(tmp_path / "wave" / "tracks.csv") == []
    [warning] = json.loads((tmp_path / "wave" / "summary.json").read_text())["statistics"]["warnings"]
    assert f"wave: {warning}" in capsys.readouterr().err.splitlines()
    remedy = warning.partition("(tracker ")[2].rstrip(")")
    assert run([*arguments, "--tracker", remedy]) == 0
    assert len(rows(tmp_path / "wave" / "tracks.csv")) == 1


def test_a_real_clip_gives_faces_with_tracks_ages_and_genders(tmp_path, shared_videos):
    clip = shared_videos / "head-pose-face-detection-female.gif"
    assert run(["analyze", str(clip), "--out", str(tmp_path), "--annotate", "--quiet", *FAST]) == 0
    folder = tmp_path / clip.stem
    detections, tracks = rows(folder / "detections.csv"), rows(folder / "tracks.csv")
    assert len(tracks) == 1
    assert tracks[0]["gender"] == "female"
    assert 15 < float(tracks[0]["age"]) < 50
    followed = [row for row in detections if row["track"] != "-1"]
    assert len(followed) > 0.8 * len(detections) > 10
    assert (folder / "annotated.mp4").stat().st_size > 10_000


BAD = [
    ("missing.mp4", 2, r"'?.*missing\.mp4"),
    ("empty-folder", 2, r"empty-folder"),
    ("text.mp4", 1, r"text\.mp4"),
    ("empty.mp4", 1, r"empty\.mp4"),
]


@pytest.mark.parametrize(("name", "status", "message"), BAD, ids=[name for name, _, _ in BAD])
def test_bad_input_gets_one_clear_line_and_the_right_status(tmp_path, capsys, name, status, message):
    (tmp_path / "empty-folder").mkdir()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    (tmp_path / "empty.mp4").touch()
    got, line = failure(capsys, "analyze", tmp_path / name, "--out", tmp_path / "out", *FAST)
    assert got == status
    assert re.search(message, line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "mtcn"], "no detector is named 'mtcn'; did you mean 'mtcnn'?"),
        (["--detector", "mtcnn:min_fase=3"], "plugin 'mtcnn' has no option 'min_fase'; did you mean 'min_face'?"),
        (["--detector", "mtcnn:min_face=big"], "plugin 'mtcnn': option 'min_face' got 'big': input should be a valid integer"),
        (["--sink", "cvs"], "no sink is named 'cvs'; did you mean 'csv'?"),
        (["--every", "0"], "the pipeline: option 'every' got 0: input should be greater than or equal to 1"),
        (["--start", "5", "--end", "2"], "end must lie after start"),
        (["--device", "gpu"], "'gpu' is not one of"),
        (["--dewice", "cpu"], "--dewice"),
        (["--config", "nothing.toml"], "cannot read the configuration 'nothing.toml'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_gets_one_line_with_a_suggestion_and_status_2(clip, capsys, arguments, message):
    status, line = failure(capsys, "analyze", clip, *arguments)
    assert status == 2
    assert message in line


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_a_device_that_is_not_there_is_told_before_the_run(clip, capsys):
    status, line = failure(capsys, "analyze", clip, "--device", "cuda")
    assert status == 2
    assert "device 'cuda' is not there" in line


def test_an_output_folder_that_cannot_be_made_is_told_before_the_run(tmp_path, clip, capsys):
    (tmp_path / "file").touch()
    status, line = failure(capsys, "analyze", clip, "--out", tmp_path / "file" / "out", *FAST)
    assert status == 2
    assert "is a file; choose another --out" in line


def test_one_broken_file_does_not_stop_the_others(tmp_path, clip, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 5000)
    status, line = failure(capsys, "analyze", tmp_path, "--out", tmp_path / "out", "--quiet", *FAST)
    assert status == 1
    assert "broken.mp4" in line
    assert json.loads((tmp_path / "out" / "grey" / "summary.json").read_text())["complete"] is True
    assert not (tmp_path / "out" / "broken").exists()


def test_all_that_failed_is_told(tmp_path, clip, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 5000)
    (tmp_path / "out" / "grey" / "detections.csv").mkdir(parents=True)
    assert run(["analyze", str(tmp_path / "broken.mp4"), str(clip), "--out", str(tmp_path / "out"), "--quiet", *FAST]) == 1
    broken, sink = capsys.readouterr().err.splitlines()
    assert "broken.mp4" in broken
    assert "cannot write" in sink


def test_a_failed_run_leaves_earlier_results_as_they_were(tmp_path, clip):
    out = tmp_path / "out"
    assert run(["analyze", str(clip), "--out", str(out), "--quiet", *FAST]) == 0
    before = {path.name: path.read_bytes() for path in (out / "grey").iterdir()}
    clip.write_bytes(b"no video any more")
    assert run(["analyze", str(clip), "--out", str(out), "--quiet", *FAST]) == 1
    assert {path.name: path.read_bytes() for path in (out / "grey").iterdir()} == before


def test_resume_passes_over_what_is_complete(tmp_path, clip, capsys):
    arguments = ["analyze", str(clip), "--out", str(tmp_path / "out"), "--resume", *FAST]
    assert run(arguments) == 0
    written = (tmp_path / "out" / "grey" / "summary.json").stat().st_mtime_ns
    assert run(arguments) == 0
    assert "1 of 1 sources are complete already" in capsys.readouterr().err
    assert (tmp_path / "out" / "grey" / "summary.json").stat().st_mtime_ns == written
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_resume_does_not_take_the_results_of_another_file_for_its_own(tmp_path, clip, capsys):
    (tmp_path / "b").mkdir()
    other = clip.rename(tmp_path / "b" / clip.name)
    out = tmp_path / "out"
    assert run(["analyze", str(other), "--out", str(out), *FAST]) == 0
    synthetic_video(clip, frames=5, width=64, height=48)
    status, line = failure(capsys, "analyze", clip, "--out", out, "--resume", *FAST)
    assert status == 2
    assert line.startswith(f"framehook: '{out / 'grey'}' holds the results of {other}, not of {clip}: choose another --out")


def test_resume_analyses_a_recording_that_has_changed_once_more(tmp_path, clip, caplog):
    arguments = ["analyze", str(clip), "--out", str(tmp_path / "out"), "--resume", *FAST]
    assert run(arguments) == 0
    synthetic_video(clip, frames=7, width=64, height=48)
    assert run(arguments) == 0
    assert f"{clip} has changed since it was analysed: it is analysed again" in caplog.text
    summary = json.loads((tmp_path / "out" / "grey" / "summary.json").read_text())
    assert summary["statistics"]["processed"] == 7
    assert summary["file"]["bytes"] == clip.stat().st_size


def test_resume_analyses_again_what_has_lost_a_file(tmp_path, clip, caplog):
    arguments = ["analyze", str(clip), "--out", str(tmp_path / "out"), "--resume", *FAST]
    assert run(arguments) == 0
    summary = json.loads((tmp_path / "out" / "grey" / "summary.json").read_text())
    assert summary["files"] == ["detections.csv", "detections.jsonl", "tracks.csv"]
    (tmp_path / "out" / "grey" / "detections.csv").unlink()
    assert run(arguments) == 0
    assert "grey/detections.csv' is no longer there: grey is analysed again" in caplog.text.replace("\\", "/")
    assert (tmp_path / "out" / "grey" / "detections.csv").exists()


def test_files_of_an_earlier_run_are_told_of(tmp_path, clip, caplog):
    arguments = ["analyze", str(clip), "--out", str(tmp_path / "out"), *FAST]
    assert run([*arguments, "--annotate"]) == 0
    assert run(arguments) == 0
    assert "annotated.mp4' is of an earlier run, and does not go with the new results" in caplog.text


def test_resume_knows_a_file_by_whatever_path(tmp_path, clip, capsys, monkeypatch):
    out = tmp_path / "out"
    assert run(["analyze", str(clip), "--out", str(out), *FAST]) == 0
    (tmp_path / "link").symlink_to(clip.parent, target_is_directory=True)
    for path in (tmp_path / "link" / clip.name, clip.parent / ".." / clip.parent.name / clip.name):
        assert run(["analyze", str(path), "--out", str(out), "--resume", *FAST]) == 0
        assert "1 of 1 sources are complete already" in capsys.readouterr().err


def test_resume_wants_the_summary_where_it_looks_for_it(tmp_path, clip, capsys):
    status, line = failure(capsys, "analyze", clip, "--out", tmp_path, "--resume", "--sink", "summary:path={stream}/s.json")
    assert status == 2
    assert "leave out the path of the sink 'summary'" in line


def test_the_results_may_lie_in_the_home_folder(tmp_path, clip, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    arguments = ["analyze", str(clip), "--out", "~/out", "--resume", *FAST]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["folder"] == str(tmp_path / "out" / "grey")
    assert run(arguments) == 0
    assert "1 of 1 sources are complete already" in capsys.readouterr().err


def test_without_a_tracker_and_classifiers_faces_are_only_found(tmp_path, clip):
    arguments = ["analyze", str(clip), "--out", str(tmp_path), "--tracker", "none", "--classifier", "none", "--detector", FAST[1]]
    assert run(arguments) == 0
    options = json.loads((tmp_path / "grey" / "summary.json").read_text())["options"]
    assert (options["tracker"], options["classifiers"]) == (None, [])


def test_a_configuration_with_a_path_that_is_none_is_wrong_usage(tmp_path, clip, capsys):
    (tmp_path / "settings.toml").write_text("out = 5\n", encoding="utf-8-sig")  # and a byte order mark is no error
    status, line = failure(capsys, "analyze", clip, "--config", tmp_path / "settings.toml")
    assert status == 2
    assert "option 'out' got 5" in line


def test_resume_does_not_pass_over_a_live_stream(tmp_path, clip, capsys):
    arguments = ["analyze", str(clip), "--out", str(tmp_path / "out"), *FAST]
    assert run(arguments) == 0
    path = tmp_path / "out" / "grey" / "summary.json"
    summary = json.loads(path.read_text())
    summary["stream"]["live"] = True  # two cameras may differ in what is not shown of their addresses alone
    path.write_text(json.dumps(summary))
    status, line = failure(capsys, *arguments, "--resume")
    assert status == 2
    assert "holds the results of a live stream, which --resume cannot go on with" in line


def test_resume_may_go_on_elsewhere_and_otherwise_as_long_as_it_looks_for_the_same(tmp_path, clip, capsys):
    out = tmp_path / "out"
    assert run(["analyze", str(clip), "--out", str(out), "--detector", "mtcnn:min_face=40"]) == 0
    config = tmp_path / "settings.toml"
    config.write_text('batch = 2\non_error = "isolate"\n')
    assert run(["analyze", str(clip), "--out", str(out), "--resume", "--config", str(config), *FAST]) == 0
    assert "1 of 1 sources are complete already" in capsys.readouterr().err


def test_resume_takes_no_foreign_summary_for_its_own(tmp_path, clip, capsys):
    (tmp_path / "out" / "grey").mkdir(parents=True)
    (tmp_path / "out" / "grey" / "summary.json").write_text('{"complete": true}')
    status, line = failure(capsys, "analyze", clip, "--out", tmp_path / "out", "--resume", *FAST)
    assert status == 2
    assert f"holds the results of another source, not of {clip}" in line


def test_resume_does_not_mix_results_of_different_settings(tmp_path, clip, capsys):
    out = tmp_path / "out"
    assert run(["analyze", str(clip), "--out", str(out), *FAST]) == 0
    status, line = failure(capsys, "analyze", clip, "--out", out, "--resume", "--every", "2", *FAST)
    assert status == 2
    assert "was made with every 1, not 2: choose another --out" in line


def test_resume_does_not_lose_rows_of_a_file_that_all_share(tmp_path, clip, capsys):
    out, shared = tmp_path / "out", ["--sink", "csv:path=all.csv", *FAST]
    assert run(["analyze", str(clip), "--out", str(out), *shared]) == 0
    before = (out / "all.csv").read_bytes()
    other = synthetic_video(tmp_path / "other.mp4", frames=5, width=64, height=48)
    status, line = failure(capsys, "analyze", clip, other, "--out", out, "--resume", *shared)
    assert status == 2
    assert "--resume would write 'all.csv' anew" in line
    assert (out / "all.csv").read_bytes() == before


@pytest.mark.parametrize("given", ['sinks = "csv"', "[sinks]\nname = 'csv'", "sinks = [1]"])
def test_sinks_that_are_no_list_of_sinks_are_told(tmp_path, clip, capsys, given):
    config = tmp_path / "settings.toml"
    config.write_text(given)
    status, line = failure(capsys, "analyze", clip, "--config", config)
    assert status == 2
    assert "sink" in line
    assert "must be" in line


def test_the_command_line_wins_over_the_configuration(tmp_path, clip):
    config = tmp_path / "settings.toml"
    config.write_text('detector = "mtcnn:min_face=40"\nevery = 5\nsinks = ["csv"]\nclassifiers = []\n')
    run(["analyze", str(clip), "--out", str(tmp_path / "a"), "--config", str(config), "--quiet"])
    run(["analyze", str(clip), "--out", str(tmp_path / "b"), "--config", str(config), "--every", "2", "--quiet"])
    counts = [json.loads((tmp_path / name / "grey" / "summary.json").read_text()) for name in "ab"]
    assert [summary["statistics"]["processed"] for summary in counts] == [2, 5]
    assert not (tmp_path / "a" / "grey" / "detections.jsonl").exists()


def test_an_unknown_key_in_the_configuration_is_told(tmp_path, clip, capsys):
    config = tmp_path / "settings.toml"
    config.write_text('detektor = "mtcnn"\n')
    status, line = failure(capsys, "analyze", clip, "--config", config)
    assert status == 2
    assert "unknown key 'detektor'; did you mean 'detector'?" in line


def test_json_goes_to_standard_output(tmp_path, clip, capsys):
    assert run(["analyze", str(clip), "--out", str(tmp_path / "out"), "--json", *FAST]) == 0
    [stream] = json.loads(capsys.readouterr().out)
    assert (stream["stream"], stream["processed"], stream["folder"]) == ("grey", 10, str(tmp_path / "out" / "grey"))


def test_ctrl_c_before_any_result_does_not_promise_one(tmp_path, clip, capsys, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("framehook_cli.analyze.meter", interrupted)
    assert run(["analyze", str(clip), "--out", str(tmp_path / "out"), *FAST]) == 130
    assert capsys.readouterr().err.split("\n") == ["", "framehook: interrupted", ""]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_ctrl_c_leaves_whole_files_and_status_130(tmp_path, sent):
    clip = synthetic_video(tmp_path / "long.mp4", frames=3000, width=320, height=240)
    program = "from framehook_cli.main import main; main()"
    arguments = ["analyze", str(clip), "--out", str(tmp_path / "out"), "--sink", "csv", "--sink", "json", *FAST]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True)
    summary = tmp_path / "out" / "long" / "summary.json"
    json_file = tmp_path / "out" / "long" / "detections.json"
    while process.poll() is None and not (json_file.exists() and json_file.stat().st_size > 2000):
        pass
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert f"what was analysed until now is in {tmp_path / 'out'}\n" in errors
    assert "Traceback" not in errors
    written = json.loads(json_file.read_text())
    told = json.loads(summary.read_text())
    assert told["complete"] is False
    assert 0 < told["statistics"]["processed"] < 3000
    assert len(written["results"]) == told["statistics"]["processed"]


def test_the_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("analyze", "demo", "doctor", "plugins"))


def test_a_mistyped_command_gets_a_suggestion(capsys):
    status, line = failure(capsys, "analyse")
    assert status == 2
    assert "no such command 'analyse'; did you mean 'analyze'?" in line
