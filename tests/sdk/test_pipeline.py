import re
import subprocess
import sys

import pytest

from framehook import ConfigError, Detections, OptionError, Pipeline, PluginNotFoundError, SourceNotFoundError
from framehook.testing import FixedDetector, MemorySink, OrderTracker, grey_image, synthetic_video


def test_stages_are_given_by_name_table_class_or_object(tmp_path):
    pipeline = Pipeline(
        detector=FixedDetector,
        tracker=OrderTracker(),
        classifiers=[],
        sinks=["csv", {"name": "jsonl", "path": "{stream}.jsonl"}, MemorySink()],
        out=tmp_path,
    )
    assert len(list(pipeline.run([grey_image(64, 48)] * 3))) == 3
    assert len((tmp_path / "arrays" / "detections.csv").read_text().splitlines()) == 4
    assert len((tmp_path / "arrays.jsonl").read_text().splitlines()) == 3


def test_a_configuration_says_the_same_as_the_constructor(tmp_path):
    config = tmp_path / "pipeline.toml"
    config.write_text(
        'tracker = "iou"\nclassifiers = []\nevery = 2\n\n[detector]\nname = "mtcnn"\nmin_face = 40\n\n'
        '[[sinks]]\nname = "csv"\npath = "{stream}.csv"\n'
    )
    pipeline = Pipeline.from_config(config, out=tmp_path)
    assert pipeline.settings["detector"] == {"name": "mtcnn", "min_face": 40}
    assert len(list(pipeline.run(synthetic_video(tmp_path / "clip.mp4", frames=9)))) == 5
    assert (tmp_path / "clip.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detecter = 'x'", "unknown key 'detecter'; did you mean 'detector'?"),
        ("detector = ", "is not TOML"),
        ("sinks = 'csv'", "sinks must be a list, got 'csv'"),
        ("batch = 0", "option 'batch' got 0: input should be greater than or equal to 1"),
        ("fps = 'fast'", "option 'fps' got 'fast': input should be a valid number"),
        ("device = 'gpu'", "option 'device' got 'gpu': input should be 'auto', 'cpu' or 'cuda'"),
        ("detector = {min_face = 3}", "a plugin given as a table needs its 'name'"),
    ],
    ids=["unknown key", "no TOML", "no list", "too small", "no number", "no choice", "no name"],
)
def test_a_bad_configuration_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "pipeline.toml").write_text(text)
    with pytest.raises((ConfigError, OptionError), match=re.escape(message)) as told:
        Pipeline.from_config(tmp_path / "pipeline.toml")
    assert "\n" not in str(told.value)


def test_a_missing_configuration_is_told():
    with pytest.raises(ConfigError, match=r"cannot read the configuration 'nowhere\.toml'"):
        Pipeline.from_config("nowhere.toml")


def test_what_is_missing_is_told_before_anything_starts():
    with pytest.raises(PluginNotFoundError, match="did you mean 'mtcnn'"):
        Pipeline(detector="mtcn")
    with pytest.raises(SourceNotFoundError, match=r"nowhere\.mp4"):
        Pipeline(detector=FixedDetector(), classifiers=[]).run("nowhere.mp4")


def test_without_a_tracker_every_track_is_none():
    pipeline = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[])
    assert [r.detections.tracks.tolist() for r in pipeline.run([grey_image(64, 48)] * 2)] == [[-1], [-1]]


def test_the_first_views_of_a_track_are_looked_at_and_then_one_now_and_again():
    class Looker:
        columns = ()
        looked = ()

        def classify(self, frames, detections):
            self.looked = (*self.looked, *(frame.index for frame in frames))
            assert all(isinstance(found, Detections) for found in detections)
            return detections

    looker = Looker()
    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[looker], classify_every=10)
    assert len(list(pipeline.run([grey_image(64, 48)] * 30))) == 30
    assert looker.looked == (0, 1, 2, 3, 4, 14, 24)


@pytest.mark.parametrize(
    ("program", "without"),
    [
        ("import framehook, framehook_cli.main", {"torch", "cv2", "scipy", "matplotlib", "numpy", "av", "pydantic", "rich"}),
        ("from framehook import *", {"torch", "cv2", "scipy", "matplotlib"}),
        ("from framehook_cli.main import run; run(['--help'])", {"torch", "numpy", "av", "pydantic", "rich"}),
        ("from framehook import load_plugins; load_plugins().offered", {"torch", "cv2", "scipy", "matplotlib"}),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(program, without):
    program += f"; import sys; print('loaded:', {without!r} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("loaded: set()\n")
