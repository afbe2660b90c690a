import json
import re

import pytest

from framehook.testing import synthetic_video
from framehook_cli.main import run


@pytest.fixture
def clip(tmp_path):
    return synthetic_video(tmp_path / "clip.mp4", frames=12)


def test_it_times_every_way_through_a_clip(clip, capsys):
    assert run(["bench", str(clip), "--device", "cpu"]) == 0

    rates = re.findall(r"^(.+?) +([\d.]+) frames/s   ms a frame: decode", capsys.readouterr().out, re.MULTILINE)
    assert [what for what, _ in rates] == ["decode only", "detect on every frame", "detect and follow", "whole pipeline"]
    assert all(float(rate) > 0 for _, rate in rates)


def test_it_answers_as_json(clip, capsys):
    assert run(["bench", str(clip), "--device", "cpu", "--json"]) == 0

    runs = json.loads(capsys.readouterr().out)["runs"]
    assert list(runs) == ["decode only", "detect on every frame", "detect and follow", "whole pipeline"]
    assert all(one["frames_per_second"] > 0 for one in runs.values())
    assert {"decode", "detect", "track", "classify", "write"} >= runs["whole pipeline"]["milliseconds_per_frame"].keys()
    assert runs["whole pipeline"]["overhead"] >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere.mp4"], "nowhere.mp4"), (["--seconds", "0"], "0"), (["--detector", "mtcn"], "did you mean 'mtcnn'")],
    ids=["no clip", "no time", "typo"],
)
def test_what_is_mistyped_is_told_in_one_line(arguments, message, capsys):
    assert run(["bench", *arguments]) == 2

    [error] = capsys.readouterr().err.splitlines()
    assert message in error
