import copy
import pickle
import re
import subprocess
import sys
import typing

import numpy as np
import pytest

from framehook import (
    Column,
    ConfigError,
    Detections,
    OptionError,
    Pipeline,
    PluginNotFoundError,
    SourceNotFoundError,
    StageError,
    UsageError,
)
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


class Looker:
    columns = ()
    looked = ()

    def classify(self, frames, detections):
        self.looked = (*self.looked, *(frame.index for frame in frames))
        assert all(isinstance(found, Detections) for found in detections)
        return detections


def test_the_first_views_of_a_track_are_looked_at_and_then_one_now_and_again():
    looker = Looker()
    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[looker], classify_every=10)
    assert len(list(pipeline.run([grey_image(64, 48)] * 30))) == 30
    assert looker.looked == (0, 2, 4, 6, 8, 10, 12, 14, 24)


@pytest.mark.parametrize(
    ("settings", "looked"),
    [
        ({}, (0, 2, 4, 6, 8, 10, 12, 14, 34, 54)),
        ({"every": 5}, (0, 5, 10, 15, 20, 25, 30, 35, 55)),
        ({"fps": 2}, (0, 13, 25, 38, 50, 63)),
    ],
    ids=["all frames", "every fifth", "two a second"],
)
def test_a_new_face_is_looked_at_eight_times_and_then_every_0_8_s_of_the_streams_time(settings, looked):
    looker = Looker()
    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[looker], **settings)
    list(pipeline.run([grey_image(64, 48)] * 70))  # at 25 frames a second
    assert looker.looked == looked


class Saying:
    """A classifier that gives every view the same values."""

    def __init__(self, *columns, **said):
        self.columns = columns
        self.said = said

    def classify(self, frames, detections):
        return [found.with_attributes(**{k: np.array([v] * len(found)) for k, v in self.said.items()}) for found in detections]


SCORE = Column(name="score", aggregate="probability", of="mood")
MOOD = Column(name="mood", aggregate="vote", of="score", categories=("calm", "angry"))
LEVEL = Column(name="level", aggregate="mean")


class Losing(Saying):
    def classify(self, frames, detections):
        return [Detections(boxes=found.boxes, attributes={"level": np.ones(len(found))}) for found in detections]


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (Saying(LEVEL, level=1, quality="good"), "gave column 'quality' values of type <U4, wanted numbers"),
        (Saying(LEVEL, level=1, quality=[0.5]), r"gave column 'quality' the shape \(1, 1\), wanted \(1,\)"),
        (Saying(LEVEL, level=1, quality=-1), "gave column 'quality' the value -1, wanted 0 to 1"),
        (Saying(MOOD, SCORE, mood="calm", score=97.0), "gave column 'score' the value 97, wanted 0 to 1"),
        (Saying(MOOD, mood="calm", score="high"), "gave column 'score' values of type <U4, wanted numbers"),
        (
            Saying(Column(name="spread", aggregate="std", of="level"), spread=1, level="x"),
            "gave column 'level' values of type <U1",
        ),
        (Saying(Column(name="plate"), plate=b"AB"), r"attribute 'plate' must be numbers or strings, got an array of type \|S2"),
        (Losing(LEVEL), r"returned detections of the tracks \[-1\] for those of \[1\], wanted the same in the same order"),
    ],
    ids=["word", "shape", "below 0", "percent", "score a word", "mean a word", "bytes", "lost tracks"],
)
def test_what_a_classifier_says_wrongly_is_told_with_its_name_and_the_frame(classifier, message):
    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[classifier])
    with pytest.raises(StageError, match=rf"plugin '{type(classifier).__name__}' failed on frame 0 .*{message}"):
        list(pipeline.run([grey_image(64, 48)] * 2))


def test_words_where_there_were_numbers_are_told_with_the_classifiers_name():
    class Changing(Saying):
        def classify(self, frames, detections):
            return [found.with_attributes(badge=[frame.index or "none"]) for frame, found in zip(frames, detections, strict=True)]

    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[Changing(Column(name="badge"))])
    with pytest.raises(
        StageError, match=r"plugin 'Changing' failed on frame 2 .*gave column 'badge' values of type int64 after <U4"
    ):
        list(pipeline.run([grey_image(64, 48)] * 3))


def test_a_detectors_quality_weighs_no_classifiers_view():
    class Rating:
        def detect(self, frames):
            return [Detections(boxes=[[8, 8, 24, 24]], attributes={"quality": [1.0 if f.index else 100.0]}) for f in frames]

    class Counting:
        columns = (LEVEL,)

        def classify(self, frames, detections):
            assert all("quality" not in found.attributes for found in detections)
            return [found.with_attributes(level=[float(frame.index)]) for frame, found in zip(frames, detections, strict=True)]

    pipeline = Pipeline(detector=Rating(), tracker=OrderTracker(), classifiers=[Counting()], classify_every=1)
    *_, result = pipeline.run([grey_image(64, 48)] * 5)
    assert result.detections.attributes["level"].tolist() == [2]
    assert result.detections.attributes["quality"].tolist() == [1]


@pytest.mark.parametrize(
    ("classifiers", "message"),
    [
        ([Saying(LEVEL), Losing(LEVEL)], "column 'level' comes from classifier 'Saying' and from 'Losing': use one of them"),
        ([Saying(LEVEL, LEVEL)], "classifier 'Saying' gives the column 'level' twice"),
        (
            [Saying(LEVEL), Losing(SCORE)],
            r"classifier 'Losing': column 'score' is .* of 'mood', .* 'vote' columns \(it has none\)",
        ),
    ],
    ids=["two classifiers", "one twice", "of no vote"],
)
def test_columns_that_do_not_go_together_are_told_when_the_pipeline_is_made(classifiers, message):
    with pytest.raises(UsageError, match=message):
        Pipeline(detector=FixedDetector(), classifiers=classifiers)


def test_who_changes_a_result_is_told_and_the_run_goes_on_unharmed():
    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[])
    with pipeline.session() as session:
        for i in range(3):
            found = session.push(grey_image(64, 48), seconds=i / 25).detections
            with pytest.raises(ValueError, match="read-only"):
                found.boxes[:] *= 2
            assert found.boxes.tolist() == [[8, 8, 24, 24]]


def test_a_sink_that_changes_a_result_is_named():
    class Scaling(MemorySink):
        def write(self, result):
            result.detections.boxes[:] /= 64

    pipeline = Pipeline(detector=FixedDetector(), tracker=OrderTracker(), classifiers=[], sinks=[Scaling()])
    with pytest.raises(StageError, match=r"'Scaling' failed .*read-only"):
        list(pipeline.run([grey_image(64, 48)] * 2))


def test_a_detector_may_use_its_arrays_again():
    class Thrifty:
        boxes = np.zeros((1, 4), np.float32)

        def detect(self, frames):
            return [self.found(frame) for frame in frames]

        def found(self, frame):
            self.boxes[:] = (frame.index, 0, 30, 30)
            return Detections(boxes=self.boxes)

    pipeline = Pipeline(detector=Thrifty(), tracker=None, classifiers=[])
    assert [result.detections.boxes[0, 0] for result in pipeline.run([grey_image(64, 48)] * 6)] == [0, 1, 2, 3, 4, 5]


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


def test_the_folder_of_results_may_be_written_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    given = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=["csv"], out="~/results")
    list(given.run([grey_image(64, 48)] * 3))
    assert (tmp_path / "results" / "arrays" / "detections.csv").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("given", [{"end": float("inf")}, {"start": float("nan")}, {"fps": float("inf")}])
def test_times_and_rates_are_finite(given):
    with pytest.raises(OptionError, match="input should be a finite number"):
        Pipeline(**given)


def test_what_a_pipeline_takes_and_returns_can_be_asked_of_its_annotations():
    assert {"sources", "return"} <= typing.get_type_hints(Pipeline.run).keys()


def test_what_cannot_leave_its_process_says_so():
    pipeline = Pipeline(detector=FixedDetector(), classifiers=[])
    with pipeline.session() as session, pipeline.run([grey_image(64, 48)]) as run:
        for each in (pipeline, session, run):
            for send in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match=f"a {type(each).__name__} can be neither copied nor pickled: "):
                    send(each)


def test_a_program_may_change_its_folder_in_the_middle_of_a_run(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    videos = [synthetic_video(f"{name}.mp4", frames=5) for name in ("a", "b", "c")]
    pipeline = Pipeline(detector=FixedDetector(), classifiers=[], sinks=["jsonl"], out="results")
    for _ in pipeline.run(videos):
        monkeypatch.chdir(tmp_path / "elsewhere")
    lines = [len((tmp_path / "results" / name / "detections.jsonl").read_text().splitlines()) for name in ("a", "b", "c")]
    assert lines == [5, 5, 5]
