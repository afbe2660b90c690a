import csv
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from framehook import ArraySource, Detections
from framehook_cli.main import run as framehook
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.classifier import AgeGenderClassifier
from framehook_plugins.agegender.outputs import AgeDistribution, GenderLogit, Outputs
from framehook_trainers import recipes
from framehook_trainers.datasets.faces import read_faces
from framehook_trainers.design import Design
from framehook_trainers.pretrained import recognition_file, recognition_weights

TINY = {
    "framehook": (
        *("network=resnet", "width=4", "input_size=112"),
        *("epochs=2", "small_epochs=1", "calm_epochs=1", "batch=32", "peak_rate=3e-3", "mixup_alpha=0.2"),
    ),
    "resnet34-transfer": ("first_epochs=1", "epochs=1", "batch=16", "width=4"),
    "separable-multi": ("epochs=1", "batch=32", "width=4"),
    "twobranch-cnn": ("epochs=2", "batch=32"),
    "vgg16-ordinal": ("epochs=1", "batch=32", "input_size=32", "dense_width=8", "ordinal=kappa"),
    "wrn-16-8": ("epochs=1", "batch=32", "depth=10", "width=1"),
}
"""What keeps each recipe within seconds."""


@pytest.fixture(scope="module")
def faces(tiny_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "faces"
    sources = [f"{name}:{tiny_data}" for name in ("utkface", "fairface")]
    assert framehook(["prepare", *sources, "--out", str(out), "--workers", "1", "--validation-share", "0.2"]) == 0
    return out


def train(name, faces, out, *more, settings=None):
    chosen = [part for setting in settings or TINY[name] for part in ("--set", setting)]
    return framehook(["train", name, "--faces", str(faces), "--out", str(out), "--device", "cpu", *chosen, *more])


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "framehook"
    assert train("framehook", faces, out) == 0
    return out


def test_every_recipe_is_tried_here():
    assert TINY.keys() == recipes.RECIPES.keys()


def logged(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", sorted(TINY.keys() - {"framehook"}))
def test_the_weights_of_each_recipe_run_in_the_plugin_as_they_are(name, faces, tmp_path):
    assert train(name, faces, tmp_path / "run", settings=(*TINY[name], "patience=3")) == 0

    assert logged(tmp_path / "run")[0]["best"], "early stopping watches every recipe that is told to"
    plugin_runs(tmp_path / "run" / "model.safetensors")
    assert name in checkpoint.read_header(tmp_path / "run" / "model.safetensors").recipe


def test_the_variant_in_years_tells_only_of_the_ages_that_it_learns(faces, tmp_path):
    assert train("separable-multi", faces, tmp_path / "run", settings=(*TINY["separable-multi"], "variant=years")) == 0

    weights = tmp_path / "run" / "model.safetensors"
    plugin_runs(weights)
    header = checkpoint.read_header(weights)
    split = read_faces(faces, split="train")
    years = split.ages[split.rows(dataset="utkface"), 0]
    learnt = years[(years >= 21) & (years <= 75)]
    assert header.age_range == (learnt.min(), learnt.max())
    assert header.outputs.age.offset == pytest.approx(learnt.mean())


def plugin_runs(weights):
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    frame = next(iter(ArraySource([picture])))
    faces_found = Detections(boxes=np.array([[40, 40, 140, 150]], np.float32))
    (found,) = AgeGenderClassifier(weights=str(weights), device="cpu").classify([frame], [faces_found])
    assert 0 <= found.attributes["age"][0] <= 120
    assert found.attributes["gender"][0] in ("female", "male")


def test_a_quiet_run_prints_nothing(faces, tmp_path, capfd):
    assert train("twobranch-cnn", faces, tmp_path / "run", "--quiet") == 0

    assert capfd.readouterr() == ("", "")


def test_the_card_tells_of_both_phases(faces, tmp_path):
    assert train("resnet34-transfer", faces, tmp_path / "run") == 0

    assert "| training | 2 epochs, " in (tmp_path / "run" / "model-card.md").read_text()


def test_a_run_leaves_all_that_is_needed_to_judge_and_repeat_it(trained):
    left = {path.name for path in trained.iterdir()}

    assert left >= {
        "checkpoint.pt",
        "config.toml",
        "confusion-age.png",
        "confusion-gender.png",
        "learning-curves.png",
        "log.jsonl",
        "metrics.json",
        "model-card.md",
        "model.safetensors",
        "predicted-age.png",
        "reliability.png",
        "worst-errors.png",
    }
    settings = tomllib.loads((trained / "config.toml").read_text())
    assert (settings["recipe"], settings["epochs"], settings["width"]) == ("framehook", 2, 4)
    assert [(line["epoch"], line["best"]) for line in logged(trained)] == [(1, False), (2, False)]


def test_the_weights_say_how_they_were_made_and_how_good_they_are(trained):
    header = checkpoint.read_header(trained / "model.safetensors")

    assert (header.architecture, header.options["width"], header.input_size) == ("resnet", 4, 112)
    assert "non-commercial" in header.licence
    assert header.metrics.keys() == {"utkface test", "fairface test"}
    low, high = header.metrics["utkface test"]["age.mae"]["low"], header.metrics["utkface test"]["age.mae"]["high"]
    assert low <= header.metrics["utkface test"]["age.mae"]["value"] <= high


def test_a_finished_run_is_not_overwritten(trained, faces, capsys):
    before = (trained / "model.safetensors").read_bytes()

    assert train("framehook", faces, trained) == 2

    assert "already holds a run: continue it with --resume, or name another --out" in capsys.readouterr().err
    assert (trained / "model.safetensors").read_bytes() == before


def test_prepared_faces_and_a_folder_in_use_are_no_place_for_a_run(faces, tmp_path, capsys):
    before = sorted(path.name for path in faces.iterdir())
    assert train("framehook", faces, faces) == 2
    assert "holds prepared faces, which are no run's: name another --out" in capsys.readouterr().err
    assert sorted(path.name for path in faces.iterdir()) == before

    holding = (
        "import sys, pathlib; from framehook_plugins.sinks.folders import hold; hold(pathlib.Path(sys.argv[1])); print(); input()"
    )
    command = [sys.executable, "-c", holding, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert train("framehook", faces, tmp_path) == 2
        other.communicate(b"\n")
    assert "is being written into by another process; wait for its end" in capsys.readouterr().err
    assert not (tmp_path / "config.toml").exists()


def test_there_must_be_something_to_resume(faces, tmp_path, capsys):
    assert train("framehook", faces, tmp_path, "--resume") == 2

    assert "there is no run to resume in" in capsys.readouterr().err


def test_a_run_goes_on_with_the_settings_that_it_began_with(trained, faces, capsys):
    settings = [setting.replace("width=4", "width=8") for setting in TINY["framehook"]]

    assert train("framehook", faces, trained, "--resume", settings=settings) == 2

    assert "was begun with width 4, got 8: resume it with the same settings" in capsys.readouterr().err


def test_a_run_goes_on_with_the_faces_that_it_began_with(trained, faces, tmp_path, capsys):
    others = relabelled(faces, tmp_path / "others", lambda row: row | {"female": "1"})

    assert train("framehook", others, trained, "--resume") == 2

    assert "was begun with other faces than" in capsys.readouterr().err


def test_a_run_that_does_not_say_which_faces_it_began_with_goes_on(trained, faces, tmp_path):
    older = Path(shutil.copytree(trained, tmp_path / "older"))
    lines = (older / "config.toml").read_text().splitlines(keepends=True)
    newer = ("faces_digest", "patience", "watched")
    (older / "config.toml").write_text("".join(line for line in lines if not line.startswith(newer)))

    assert train("framehook", faces, older, "--resume") == 0

    assert (older / "config.toml").read_text() == "".join(lines)


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "copied"))


DAMAGED = [("empty", b""), ("no recipe", b"epochs = 2\n"), ("no text", b"recipe = '\xff'\n"), ("a folder", None)]


@pytest.mark.parametrize("content", [row[1] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_settings_that_are_damaged_are_told(copied, faces, content, capsys):
    path = copied / "config.toml"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)

    assert train("framehook", faces, copied, "--resume") == 2

    assert "config.toml' is damaged (" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_settings_that_cannot_be_written_anew_stay(copied, faces, capsys):
    before = (copied / "config.toml").read_bytes()
    (copied / "config.toml.part").symlink_to("/dev/full")
    longer = [setting.replace("epochs=2", "epochs=3") for setting in TINY["framehook"]]

    assert train("framehook", faces, copied, "--resume", settings=longer) == 2

    assert "config.toml': No space left on device" in capsys.readouterr().err
    assert (copied / "config.toml").read_bytes() == before


@pytest.mark.parametrize("lost", [("checkpoint.pt",), ("checkpoint.pt", "log.jsonl"), ("checkpoint.pt", "model.safetensors")])
def test_a_run_without_its_checkpoint_is_a_run(copied, faces, lost, capsys):
    for name in lost:
        (copied / name).unlink()
    before = {path.name for path in copied.iterdir()}

    assert train("framehook", faces, copied) == 2
    assert "already holds a run: continue it with --resume, or name another --out" in capsys.readouterr().err
    assert train("framehook", faces, copied, "--resume") == 2
    assert "holds a run without its 'checkpoint.pt': put that back to resume it, or begin anew" in capsys.readouterr().err

    assert {path.name for path in copied.iterdir()} == before


def test_a_run_that_ended_before_its_first_checkpoint_says_that_it_begins_at_the_beginning(copied, faces, tmp_path, capsys):
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(copied / "config.toml", begun)
    (begun / "log.jsonl").write_text((copied / "log.jsonl").read_text().splitlines(keepends=True)[0])  # its save failed

    assert train("framehook", faces, begun, "--resume") == 0

    assert capsys.readouterr().out.startswith(f"'{begun}' begins at step 0 of ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_run_ends_though_nobody_can_read_its_lines(faces, tmp_path, monkeypatch):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert train("twobranch-cnn", faces, tmp_path / "run") == 0
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space left"):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert (tmp_path / "run" / "model-card.md").exists()


def test_validation_is_of_the_sets_that_are_trained_on(faces, tmp_path):
    assert train("framehook", faces, tmp_path / "run", settings=(*TINY["framehook"], "datasets=fairface", "batch=8")) == 0

    measured = logged(tmp_path / "run")[0]["validation"].keys()
    assert "age.bracket_accuracy" in measured
    assert "age.mae" not in measured, "FairFace has no exact ages"


def relabelled(faces, folder, change):
    """Copy prepared faces, with each row of their labels changed."""
    shutil.copytree(faces, folder)
    for table in folder.glob("*/labels.csv"):
        with table.open(newline="") as stream:
            rows = [change(row) for row in csv.DictReader(stream)]
        with table.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return folder


LACKING = [
    ("no age", "framehook", {"age_low": "-1", "age_high": "-1"}, (), "has no training face with an age, which a run needs"),
    ("no gender", "vgg16-ordinal", {"female": "-1"}, (), "has no training face with a gender, which a run needs"),
    (
        "no second set",
        "resnet34-transfer",
        {"dataset": "fairface"},
        (),
        "'utkface'; there are: fairface; recipe 'resnet34-transfer' knows no other",
    ),
    (
        "other sets",
        "twobranch-cnn",
        {"dataset": "people"},
        (),
        "; there are: people; train on what there is with --set datasets=people",
    ),
    ("nothing to watch", "framehook", {}, ("datasets=fairface", "patience=1", "batch=8"), "has no 'age.mae' to watch; it has:"),
]


@pytest.mark.parametrize(("name", "change", "settings", "message"), [row[1:] for row in LACKING], ids=[row[0] for row in LACKING])
def test_what_a_run_would_miss_is_told_before_it_trains(name, change, settings, message, faces, tmp_path, capsys):
    others = relabelled(faces, tmp_path / "others", lambda row: row | change)

    assert train(name, others, tmp_path / "run", settings=(*TINY[name], *settings)) == 2

    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("run/**/log.jsonl"))


def test_a_run_whose_results_cannot_be_written_has_failed(faces, tmp_path, capsys):
    (tmp_path / "model-card.md").mkdir()

    assert train("twobranch-cnn", faces, tmp_path, settings=("epochs=1", "batch=32")) == 1

    assert f"cannot write '{tmp_path / 'model-card.md'}'" in capsys.readouterr().err


def test_the_licence_of_imdb_wiki_reaches_the_weights(faces, tmp_path):
    others = relabelled(faces, tmp_path / "others", lambda row: row | {"dataset": "wiki"})
    design = Design(architecture="resnet", input_size=64, outputs=Outputs(age=AgeDistribution(), gender=GenderLogit()))

    header = design.header(read_faces(others, split="train"), shown=["wiki"], recipe="a test", metrics={})

    assert header.licence.startswith("IMDB-WIKI: academic research purposes only. ")


def test_a_finished_run_can_be_given_more_epochs(trained, faces, tmp_path):
    longer = Path(shutil.copytree(trained, tmp_path / "longer"))
    settings = [setting.replace("epochs=2", "epochs=3") for setting in TINY["framehook"]]

    assert train("framehook", faces, longer, "--resume", settings=settings) == 0

    assert len((longer / "log.jsonl").read_text().splitlines()) == 3


def test_a_run_begins_with_the_face_recognition_network_and_says_so(faces, tmp_path):
    settings = ("epochs=1", "batch=16", "datasets=fairface", "peak_rate=1e-9")

    assert train("framehook", faces, tmp_path / "run", settings=settings) == 0

    ended, header = checkpoint.read(tmp_path / "run" / "model.safetensors")
    for name, begun in recognition_weights(recognition_file()).items():
        torch.testing.assert_close(ended.state_dict()[name], begun, rtol=1e-3, atol=1e-4, msg=name)
    assert (header.architecture, header.input_size) == ("recognition", 150)
    assert "; begun with dlib's face recognition network, trained on about 3 million pictures" in header.training_data
    assert header.licence == (
        "FairFace: CC BY 4.0. The weights it was begun with: dlib's face recognition network: CC0 1.0. "
        "The weights carry the terms of all their data."
    )


def test_what_begins_with_weights_that_began_with_that_network_tells_of_it_once(faces, tmp_path):
    first = Design(architecture="recognition", input_size=150, outputs=Outputs(age=AgeDistribution(), gender=GenderLogit()))
    split = read_faces(faces, split="train")
    header = replace(first, pretrained=True).header(split, shown=["fairface"], recipe="a test", metrics={})
    path = tmp_path / "first.safetensors"
    checkpoint.write(path, replace(first, pretrained=True).network(), header)

    later = replace(first, pretrained=True, starts=(path,)).header(split, shown=["fairface"], recipe="a test", metrics={})

    assert later.training_data.count("dlib's face recognition network") == later.licence.count("dlib's") == 1


def test_a_run_can_begin_with_the_weights_of_another_and_takes_over_their_terms(trained, faces, tmp_path):
    start = f"start={trained / 'model.safetensors'}"
    settings = (*TINY["framehook"], start, "datasets=fairface", "batch=8", "peak_rate=1e-9")

    assert train("framehook", faces, tmp_path / "run", settings=settings) == 0

    begun, _ = checkpoint.read(trained / "model.safetensors")
    ended, header = checkpoint.read(tmp_path / "run" / "model.safetensors")
    for name, filters in begun.named_parameters():
        np.testing.assert_allclose(ended.get_parameter(name).detach(), filters.detach(), atol=1e-3, err_msg=name)
    assert "begun with weights trained on 50 faces of utkface" in header.training_data
    assert "UTKFace: non-commercial research purposes only" in header.licence


def test_a_run_can_begin_with_the_average_of_others(trained, faces, tmp_path):
    network, header = checkpoint.read(trained / "model.safetensors")
    with torch.no_grad():
        for weight in network.parameters():
            weight *= 3
    checkpoint.write(tmp_path / "tripled.safetensors", network, header)
    start = f"start={trained / 'model.safetensors'},{tmp_path / 'tripled.safetensors'}"

    assert train("framehook", faces, tmp_path / "run", settings=(*TINY["framehook"], start, "peak_rate=1e-9")) == 0

    begun, _ = checkpoint.read(trained / "model.safetensors")
    ended, header = checkpoint.read(tmp_path / "run" / "model.safetensors")
    for name, filters in begun.named_parameters():
        torch.testing.assert_close(ended.get_parameter(name), 2 * filters, rtol=0.01, atol=2e-3, msg=name)
    assert header.training_data.count("begun with the average of weights trained on") == 1


def test_a_run_can_be_taught_by_another_and_takes_over_its_terms(trained, faces, tmp_path):
    settings = (*TINY["framehook"], f"teachers={trained / 'model.safetensors'}", "datasets=fairface", "batch=8")

    assert train("framehook", faces, tmp_path / "run", settings=settings) == 0

    epoch = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert epoch["losses"]["taught"] > 0
    header = checkpoint.read_header(tmp_path / "run" / "model.safetensors")
    assert "; taught by weights trained on 50 faces of utkface" in header.training_data
    assert "The weights it was taught by: UTKFace: non-commercial research purposes only" in header.licence


def test_what_several_weights_say_of_their_data_is_said_once(trained, faces, tmp_path):
    network, header = checkpoint.read(trained / "model.safetensors")
    older = header.model_copy(
        update={
            "training_data": "9 faces of mine; begun with weights trained on 7 faces of yours; "
            "taught by weights trained on 7 faces of yours",
            "licence": "Mine: free. The weights it was begun with: Yours: not. The weights it was taught by: Yours: not"
            ". The weights carry the terms of all their data.",
        }
    )
    path = tmp_path / "older.safetensors"
    checkpoint.write(path, network, older)
    design = Design(
        architecture="resnet",
        input_size=32,
        outputs=header.outputs,
        starts=(path, path),
        teachers=(path, trained / "model.safetensors"),
    )

    made = design.header(read_faces(faces, split="train"), shown=["utkface"], recipe="a test", metrics={})

    assert made.training_data == (
        "50 faces of utkface, split by image content; begun with the average of weights trained on 9 faces of mine; "
        "begun with weights trained on 7 faces of yours; taught by weights trained on 7 faces of yours; "
        f"taught by weights trained on 9 faces of mine, and on {header.training_data}"
    )
    assert made.licence == (
        "UTKFace: non-commercial research purposes only. The weights it was begun with: Mine: free. "
        "The weights it was begun with: Yours: not. The weights it was taught by: FairFace: CC BY 4.0. "
        "The weights carry the terms of all their data."
    )


def test_a_deeper_network_begins_as_the_one_that_it_grows_from(trained):
    begun, header = checkpoint.read(trained / "model.safetensors")
    options = {**header.options, "blocks": (2, 3, 4, 2)}
    design = Design(
        architecture="resnet",
        options=options,
        input_size=header.input_size,
        outputs=header.outputs,
        starts=(trained / "model.safetensors",),
    )

    deeper = design.network().eval()

    assert len(deeper.state_dict()) > len(begun.state_dict())
    pixels = torch.rand(2, 3, header.input_size, header.input_size)
    for before, after in zip(begun.float()(pixels), deeper(pixels), strict=True):
        torch.testing.assert_close(after, before)


def test_weights_of_another_shape_are_no_start(trained, faces, tmp_path, capsys):
    settings = (*TINY["framehook"], f"start={trained / 'model.safetensors'}", "width=8")

    assert train("framehook", faces, tmp_path / "run", settings=settings) == 1

    assert "this run trains resnet with {'blocks': (2, 2, 2, 2), 'width': 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("framehok", (), "there is no recipe 'framehok'; did you mean 'framehook'?"),
        ("framehook", ("epoch=3",), "recipe 'framehook' has no option 'epoch'; did you mean 'epochs'?"),
        ("framehook", ("epochs=many",), "recipe 'framehook': option 'epochs' got 'many'"),
        ("framehook", ("epochs",), "--set got 'epochs', want NAME=VALUE"),
        ("framehook", ("datasets=imdb",), "no training face is of 'imdb'"),
        ("framehook", ("datasets=",), "option 'datasets' got '': tuple should have at least 1 item"),
        (
            "framehook",
            ("small_epochs=1",),
            "small_epochs has no effect without network=resnet, got 1: leave it out, or set network=resnet",
        ),
        ("framehook", ("width=8",), "width has no effect without network=resnet, got 8"),
        ("framehook", ("taught_share=0.7",), "taught_share has no effect without teachers, got 0.7"),
        ("framehook", ("watched=gender.accuracy",), "watched has no effect without patience, got gender.accuracy"),
        ("separable-multi", ("ages=20,30",), "ages has no effect without variant=years, got (20, 30)"),
        ("vgg16-ordinal", ("ordinal=none", "ordinal_weight=1"), "ordinal_weight has no effect without an ordinal term, got 1.0"),
        ("framehook", ("epochs=0",), "option 'epochs' got '0': input should be greater than 0"),
        ("wrn-16-8", ("batch=0",), "option 'batch' got '0': input should be greater than or equal to 2"),
        ("twobranch-cnn", ("batch=1",), "option 'batch' got '1': input should be greater than or equal to 2"),
        ("twobranch-cnn", ("decay=inf",), "option 'decay' got 'inf': input should be a finite number"),
        ("framehook", ("utkface_repeats=inf",), "option 'utkface_repeats' got 'inf': input should be a finite number"),
        ("framehook", ("datasets=utkface,utkface",), "option 'datasets' got 'utkface,utkface': each set is named once"),
        ("framehook", (f"seed={2**63}",), "input should be less than 9223372036854775808"),
        ("vgg16-ordinal", ("input_size=16",), "option 'input_size' got '16': input should be greater than or equal to 32"),
        ("separable-multi", ("input_size=16",), "input_size must be 0, the variant's own, or at least 32, got 16"),
        ("separable-multi", ("variant=years", "ages=90,99"), "no training face of utkface has an exact age within 90 to 99"),
        ("resnet34-transfer", ("first_epochs=0",), "option 'first_epochs' got '0'"),
        ("twobranch-cnn", ("patience=-1",), "option 'patience' got '-1': input should be greater than or equal to 0"),
        ("twobranch-cnn", ("watched=age",), "option 'watched' got 'age'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_mistyped_is_told_in_one_line(name, settings, message, faces, tmp_path, capsys):
    assert train(name, faces, tmp_path / "run", settings=settings or ("seed=1",)) != 0

    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
