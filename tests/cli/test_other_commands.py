import csv
import json

import pytest

from framehook_cli.main import run


def test_the_demo_follows_one_old_face_and_writes_a_picture_to_look_at(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0
    folder = tmp_path / "demo" / "grace-hopper"
    names = {"annotated.mp4", "annotated.png", "detections.csv", "detections.jsonl", "summary.json", "tracks.csv"}
    assert {path.name for path in folder.iterdir()} == names
    with (folder / "tracks.csv").open(newline="") as file:
        [track] = csv.DictReader(file)
    assert 60 < float(track["age"]) < 95
    assert track["gender"] in ("female", "male")
    assert 40 <= int(track["frames"]) <= 100
    assert "look at:" in capsys.readouterr().out


def test_plugins_are_listed_with_what_they_do(capsys):
    assert run(["plugins", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("mtcnn", "iou", "age-gender", "csv", "Find faces"))


def test_the_list_as_json_says_every_option(capsys):
    assert run(["plugins", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    options = {plugin["name"]: plugin["options"] for plugin in listed["plugins"]}
    assert options["mtcnn"]["min_face"] == "int, at least 6; default 20"
    assert listed["broken"] == []


def test_one_plugin_is_shown_with_its_options(capsys):
    assert run(["plugins", "show", "mtcnn"]) == 0
    assert "min_face: int, at least 6; default 20" in capsys.readouterr().out
    assert run(["plugins", "show", "mtcn"]) == 2
    assert "did you mean 'mtcnn'?" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_the_doctor_finds_nothing_wrong(capsys, form):
    assert run(["doctor", *form]) == 0
    shown = capsys.readouterr().out
    if form:
        findings = json.loads(shown)
        assert findings["problems"] == []
        assert findings["default_stages"] == {"mtcnn": "works", "iou": "works", "age-gender": "works"}
    else:
        assert "all is well" in shown


def test_the_doctor_tells_of_a_broken_plugin(tmp_path, monkeypatch, capsys):
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framehook]\nacme = nothing_of_that_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(["doctor"]) == 1
    assert "problem: plugin 'acme' of acme is broken: ModuleNotFoundError" in capsys.readouterr().out


def test_the_commands_of_plugins_are_there(tmp_path, monkeypatch, capsys):
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framehook]\nacme = acme_commands\n")
    (tmp_path / "acme_commands.py").write_text(
        "import click, framehook\n"
        "@framehook.hookimpl\n"
        "def framehook_register_commands(cli):\n"
        "    @cli.command()\n"
        "    def greet():\n"
        "        'Greet.'\n"
        "        click.echo('hello')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"
