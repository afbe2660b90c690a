import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from framehook import OutputError
from framehook_cli.main import run


@pytest.fixture
def table(tmp_path):
    """A csv file with ten small pictures, one of them corrupt."""
    rows = ["path,age,gender"]
    for i in range(10):
        coarse = np.random.default_rng(i).integers(0, 256, (10, 10, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), cv2.resize(coarse, (50, 50)))
        rows.append(f"{i}.png,{20 + i},{'fm'[i % 2]}")
    (tmp_path / "9.png").write_bytes(b"no picture")
    (tmp_path / "people.csv").write_text("\n".join(rows) + "\n")
    return f"table:{tmp_path / 'people.csv'}"


def test_a_table_becomes_faces_and_a_report(tmp_path, table, capsys):
    out = tmp_path / "faces"

    assert run(["prepare", table, "--out", str(out), "--size", "64", "--border", "white", "--workers", "1"]) == 0

    shown = capsys.readouterr().out
    assert "people: 10 read, 9 kept (train " in shown
    assert "  corrupt picture: 1 left out, the first: 9.png" in shown
    assert f"prepared: look at {out / 'report.html'}" in shown
    assert {path.name for path in out.iterdir()} == {"train", "validation", "test", "faces.json", "report.html"}
    settings = json.loads((out / "faces.json").read_text())["settings"]
    assert settings["geometry"] == {"margin": -0.12, "shift": 0.12, "size": 64, "stored_size": 74, "border": "white"}


def test_every_option_reaches_the_settings(tmp_path, table):
    options = {
        "--policy": "profiler",
        "--faces": "best",
        "--size": "112",
        "--context": "8",
        "--margin": "0.2",
        "--shift": "0",
        "--border": "edge",
        "--min-size": "10",
        "--min-sharpness": "0.5",
        "--test-share": "0.3",
        "--validation-share": "0.2",
        "--seed": "7",
    }
    words = [word for option in options.items() for word in option]

    assert run(["prepare", table, "--out", str(tmp_path / "faces"), "--policy", "strict", *words, "--workers", "1"]) == 0

    settings = json.loads((tmp_path / "faces" / "faces.json").read_text())["settings"]
    del settings["sources"], settings["pictures"]
    assert settings == {
        "policies": ["strict", "profiler"],
        "faces": "best",
        "geometry": {"margin": 0.2, "shift": 0.0, "size": 112, "stored_size": 120, "border": "edge"},
        "limits": {"min_size": 10.0, "min_sharpness": 0.5, "min_score": None},
        "shares": {"test": 0.3, "validation": 0.2},
        "seed": 7,
    }


def test_that_nothing_is_left_is_told_with_the_reason(tmp_path, table, capsys):
    arguments = ["prepare", table, "--out", str(tmp_path / "faces"), "--workers", "1", "--quiet"]

    assert run([*arguments, "--min-score", "0.5"]) == 1  # what was asked for was begun: it shows only then

    assert "no picture is left of 10: score below 0.5: 9 (first: 0.png)" in capsys.readouterr().err


def test_a_disk_that_is_full_in_the_end_is_a_failure(tmp_path, table, capsys, monkeypatch):
    def full(*_, **__):
        raise OutputError("no room left")

    monkeypatch.setattr("framehook_trainers.prepare.render", full)
    assert run(["prepare", table, "--out", str(tmp_path / "faces"), "--workers", "1", "--quiet"]) == 1
    assert capsys.readouterr().err == "framehook: no room left\n"


def test_the_counts_can_be_had_as_json(tmp_path, table, capsys):
    assert run(["prepare", table, "--out", str(tmp_path / "faces"), "--workers", "1", "--json"]) == 0

    counts = json.loads(capsys.readouterr().out)["people"]
    assert (counts["read"], counts["kept"]) == (10, 9)
    assert counts["dropped"]["corrupt picture"] == {"count": 1, "first": "9.png"}


def test_what_is_there_is_neither_overwritten_nor_done_twice(tmp_path, table, capsys):
    arguments = ["prepare", table, "--out", str(tmp_path / "faces"), "--workers", "1"]
    assert run(arguments) == 0
    assert run(arguments) == 2
    assert "holds prepared faces: name another --out, or prepare them anew with --replace" in capsys.readouterr().err
    assert run([*arguments, "--resume"]) == 0
    assert "complete already" in capsys.readouterr().out
    assert run([*arguments, "--resume", "--seed", "1"]) == 2
    assert "was prepared with seed 0, got 1" in capsys.readouterr().err
    assert run([*arguments, "--replace", "--seed", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel:x.csv"], "no format is named 'tabel' in 'tabel:x.csv'; did you mean 'table'?"),
        (["table:nowhere.csv"], "'nowhere.csv' is not there"),
        (["table:nowhere.csv", "--policy", "strickt"], "no policy is named 'strickt'; did you mean 'strict'?"),
        (["table:nowhere.csv", "--size", "100"], "'100' is not one of '64', '112', '150', '180', '198', '224'"),
        (["table:nowhere.csv", "--context", "3"], "an even number of pixels as context, got -0.12 and 3"),
        (["table:nowhere.csv", "--test-share", "1"], "shares must be 0 or more and leave some for training"),
        ([], "Missing argument"),
    ],
    ids=["format", "location", "policy", "size", "context", "shares", "nothing"],
)
def test_wrong_usage_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)

    assert run(["prepare", *arguments, "--out", "faces"]) == 2

    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_progress_is_told_by_lines_where_there_is_no_terminal(tmp_path, table, capsys, monkeypatch):
    monkeypatch.setattr("framehook_cli.outputs._LINE_EVERY_SECONDS", 0.0)

    assert run(["prepare", table, "--out", str(tmp_path / "faces"), "--workers", "1"]) == 0

    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("finding faces: 10 of 10, ") for line in lines)
    assert any(line.startswith("cutting faces: 9 of 9, ") for line in lines)


def test_the_help_does_not_wait_for_torch():
    program = "import sys; from framehook_cli.main import run; run(['prepare', '--help']); sys.exit('torch' in sys.modules)"

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert "FORMAT:LOCATION" in shown
    assert "imdb-wiki:/data/wiki.mat" in shown


def test_a_terminal_gets_a_bar(tmp_path, table, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert run(["prepare", table, "--out", str(tmp_path / "faces"), "--workers", "1"]) == 0

    assert "cutting faces" in capsys.readouterr().err
