import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from framehook_cli.evaluate import FORMATS, show
from framehook_cli.main import run
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.networks import build
from framehook_plugins.agegender.outputs import AgeDistribution, GenderLogit, Outputs
from framehook_trainers.datasets import formats
from framehook_trainers.metrics import Answers, Labels, measure


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network that has learnt nothing."""
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    outputs = Outputs(age=AgeDistribution(), gender=GenderLogit())
    torch.manual_seed(0)
    header = checkpoint.Header(
        architecture="resnet18",
        options={"width": 4},
        input_size=32,
        colour="RGB",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        crop_margin=-0.12,
        crop_shift=0.12,
        crop_border="edge",
        outputs=outputs,
        age_range=(0, 100),
        training_data="none",
        licence="none",
        recipe="none",
        metrics={},
        date="2026-11-22",
    )
    checkpoint.write(path, build("resnet18", outputs=outputs, width=4), header)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve pictures in UTKFace's format, one that is corrupt, and one whose name says no age."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for i in range(12):
        pixels = cv2.resize(random.integers(0, 256, (6, 6, 3), np.uint8), (72, 72))
        cv2.imwrite(str(folder / f"{10 + 5 * i}_{i % 2}_{i % 5}_2017{i:04}.jpg"), pixels)
    (folder / "50_0_0_20180000.jpg").write_bytes(b"no picture")
    (folder / "someone.jpg").touch()
    return folder


@pytest.fixture
def evaluate(weights, data):
    """Run `framehook evaluate` on the pictures, with these arguments or instead of its own."""

    def go(*more, **instead):
        given = {"weights": weights, "data": data, "format": "utkface", "device": "cpu", "workers": 1, **instead}
        return run(["evaluate", *(str(part) for name, value in given.items() for part in (f"--{name}", value)), *map(str, more)])

    return go


def test_the_json_on_standard_output_has_the_metrics_and_names_what_was_left_out(evaluate, capsys):
    assert evaluate("--json", "-") == 0

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["images"] == 12
    assert 0 <= report["gender"]["accuracy"] <= 1
    assert len(report["gender"]["auc_95"]) == 2
    assert {"mae", "within_5", "bracket_accuracy"} <= report["age"].keys()
    assert report["calibration"]["ece"] >= 0
    assert report["groups"]["race"].keys() == {"White", "Black", "Asian", "Indian", "Others"}
    assert report["corrupt"]["names"] == ["50_0_0_20180000.jpg"]
    assert report["left_out"] == {"malformed name": 1}
    assert report["selected"] == {"only": None, "faces": "all", "limit": None}
    assert "1 entries left out: malformed name, such as someone.jpg" in captured.err
    assert "corrupt picture: 50_0_0_20180000.jpg; they do not count" in captured.err


def test_without_json_there_are_tables_to_read(evaluate, tmp_path, capsys):
    assert evaluate("--json", tmp_path / "new" / "metrics.json", "--plots", tmp_path / "plots") == 0

    shown = capsys.readouterr().out
    assert shown.startswith("12 images\n")
    report = json.loads((tmp_path / "new" / "metrics.json").read_text())
    low, high = report["age"]["mae_95"]
    assert f"{report['age']['mae']:.2f} years" in shown
    assert f"{low:.2f} to {high:.2f}" in shown
    assert all(heading in shown for heading in ("by age", "by gender", "by race", "within 5, %"))
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "confusion-age.png", "confusion-gender.png", "predicted-age.png", "reliability.png", "worst-errors.png",
    }  # fmt: skip


def test_a_prepared_split_and_a_limit_say_which_pictures_count(evaluate, tmp_path, capsys):
    names = [f"{10 + 5 * i}_{i % 2}_{i % 5}_2017{i:04}.jpg" for i in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["dataset,name", *(f"utkface,{name}" for name in names)]) + "\n")

    assert evaluate("--only", tmp_path, "--limit", 3, "--json", "-") == 0

    report = json.loads(capsys.readouterr().out)
    assert report["selected"] == {"only": str(tmp_path), "faces": "all", "limit": 3}
    assert (report["images"], report["corrupt"]["count"]) == (3, 0)
    assert report["groups"]["age"].keys() == {"10-19", "20-29", "30-39"}


def test_quiet_says_nothing_but_what_went_wrong(evaluate, capsys):
    assert evaluate("--quiet") == 0

    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2


BAD = [
    ("no data", {"data": "nowhere"}, 2, "'nowhere' is not there"),
    ("no format", {"format": "celebrities"}, 2, "'celebrities' is not one of"),
    ("no weights", {"weights": "nothing"}, 2, "weights 'nothing' are neither a file nor bundled"),
    ("no split", {"only": "nowhere"}, 2, "name a split that 'framehook prepare' wrote"),
    ("no face", {"faces": "one"}, 1, "none of 12 pictures has the faces that 'one' asks for"),
    ("no place to write", {"json": "/dev/null/metrics.json"}, 2, "cannot write '/dev/null/metrics.json'"),
]


@pytest.mark.parametrize(("instead", "status", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_goes_wrong_gets_one_clear_line_and_its_status(evaluate, capsys, instead, status, message):
    assert evaluate("--quiet", **instead) == status

    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_damaged_weights_are_told_before_the_pictures_are_read(evaluate, tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{")

    assert evaluate(weights=tmp_path / "model.safetensors", data="nowhere") == 1
    assert "cannot be read as a safetensors file" in capsys.readouterr().err


def test_a_place_that_turns_out_not_to_be_writable_is_a_failure(evaluate, tmp_path, capsys):
    (tmp_path / "worst-errors.png").mkdir()

    assert evaluate("--plots", tmp_path) == 1
    assert f"cannot write '{tmp_path / 'worst-errors.png'}'" in capsys.readouterr().err


def test_people_are_told_that_the_oldest_are_70_and_more(capsys):
    ages = np.repeat([5, 75], 40)
    labels = Labels(ages=np.stack([ages, ages], axis=1), female=np.zeros(80, np.int8), races=np.full(80, ""))
    metrics = measure(Answers(age=np.full(80, 5.0), age_std=np.ones(80), female=np.zeros(80)), labels)
    assert list(metrics["groups"]["age"]) == ["3-9", "more than 70"]  # as FairFace's labels, which programs know

    show(metrics)

    shown = capsys.readouterr().out
    assert "70 and more" in shown.replace("'70 and more'", "")
    assert "0.0 % of 40 '70 and more'" in shown
    assert "more than 70" not in shown


def test_a_place_of_the_wrong_kind_is_told_before_the_pictures_are_read(evaluate, tmp_path, capsys):
    (tmp_path / "file").touch()
    for option, place, kind in (("--json", tmp_path, "folder"), ("--plots", tmp_path / "file", "file")):
        assert evaluate(option, place, data="nowhere") == 2
        assert f"cannot write '{place}': '{place}' is a {kind}; choose another {option}" in capsys.readouterr().err


def test_nothing_but_corrupt_pictures_is_a_failure(evaluate, tmp_path, capsys):
    (tmp_path / "50_0_0_20180000.jpg").write_bytes(b"no picture")

    assert evaluate(data=tmp_path) == 1
    assert "none of 1 pictures can be read, such as '50_0_0_20180000.jpg': corrupt picture" in capsys.readouterr().err


def test_the_formats_are_those_of_the_readers():
    assert FORMATS == formats.FORMATS


def test_the_command_line_starts_without_torch_and_trainers():
    code = "import framehook_cli.main, sys; print(*sorted({'torch', 'framehook_trainers'} & sys.modules.keys()))"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown == "\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("more", [["--json", "-"], []], ids=["json", "tables"])
def test_a_full_standard_output_is_told_by_name(weights, data, more):
    command = [
        sys.executable,
        "-m",
        "framehook_cli",
        "evaluate",
        "--weights",
        weights,
        "--data",
        data,
        "--format",
        "utkface",
        *more,
    ]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*map(str, command), "--workers", "1"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert "framehook: cannot write standard output: No space left on device; make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
