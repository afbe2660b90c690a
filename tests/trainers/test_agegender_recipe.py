import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from framehook_plugins.agegender import checkpoint
from framehook_trainers import evaluate, prepare
from framehook_trainers.recipes import agegender_resnet


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def faces(tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    result = run(prepare.main, "--data", tiny_data, "--out", folder, "--workers", 1)
    assert result.exit_code == 0, result.output
    return folder


def train(faces, out, *more):
    return run(agegender_resnet.main, "--faces", faces, "--out", out, "--batch", 32, "--width", 4, "--device", "cpu", *more)


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "agegender"
    result = train(faces, out, "--epochs", 2)
    assert result.exit_code == 0, result.output
    return out


def test_a_run_leaves_all_that_is_needed_to_judge_and_repeat_it(trained):
    assert sorted(path.name for path in trained.iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "log.jsonl",
        "metrics.json",
        "model.safetensors",
    ]
    assert json.loads((trained / "config.json").read_text())["epochs"] == 2
    assert len((trained / "log.jsonl").read_text().splitlines()) == 2


def test_the_weights_say_how_they_were_made(trained):
    _, header = checkpoint.read(trained / "model.safetensors")

    assert (header.crop_margin, header.crop_shift, header.input_size) == (-0.12, 0.12, 112)
    assert "non-commercial" in header.licence
    assert header.metrics == json.loads((trained / "metrics.json").read_text())


def test_the_weights_are_measured_by_the_way_that_inference_goes(trained, faces, tiny_data, tmp_path):
    out = tmp_path / "metrics.json"
    weights = trained / "model.safetensors"

    result = run(evaluate.main, "--weights", weights, "--faces", faces, "--data", tiny_data, "--workers", 1, "--out", out)

    assert result.exit_code == 0, result.output
    measured, reported = json.loads(out.read_text()), json.loads((trained / "metrics.json").read_text())
    assert measured.keys() == {"utkface test", "fairface test"}
    assert measured["utkface test"]["faces"] == reported["utkface test"]["faces"]
    years = [metrics["utkface test"]["age_mae_years"]["value"] for metrics in (measured, reported)]
    assert years[0] == pytest.approx(years[1], abs=1)  # one averages mirror images


def test_a_finished_run_is_not_overwritten(trained, faces):
    result = train(faces, trained)

    assert result.exit_code == 1
    assert "already holds a run: continue it with --resume, or name another --out" in result.output


def test_there_must_be_something_to_resume(faces, tmp_path):
    result = train(faces, tmp_path, "--resume")

    assert result.exit_code == 1
    assert "checkpoint.pt' to resume from" in result.output


def test_a_run_goes_on_with_the_settings_that_it_began_with(trained, faces):
    result = train(faces, trained, "--resume", "--width", 8)

    assert result.exit_code == 1
    assert "was begun with width 4, got 8: resume it with the same settings" in result.output


def test_a_finished_run_can_be_given_more_epochs(trained, faces, tmp_path):
    longer = Path(shutil.copytree(trained, tmp_path / "longer"))

    result = train(faces, longer, "--resume", "--epochs", 3)

    assert result.exit_code == 0, result.output
    assert len((longer / "log.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (prepare.main, ["--data", "nowhere", "--out", "somewhere"]),
        (agegender_resnet.main, ["--faces", "nowhere", "--out", "somewhere"]),
        (evaluate.main, ["--weights", "nowhere", "--faces", "nowhere", "--data", "nowhere"]),
    ],
    ids=["prepare", "train", "evaluate"],
)
def test_a_missing_input_is_one_clear_line(command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run(command, *arguments)

    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "nowhere" in result.output
    assert len(result.output.splitlines()) == 1
