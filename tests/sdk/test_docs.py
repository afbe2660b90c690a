import ast
import dataclasses
import re
import types
from pathlib import Path

import pytest

import framehook
from framehook import Pipeline, StreamInfo, StreamStatistics, hookspecs, load_plugins
from framehook.testing import (
    ClassifierConformance,
    DetectorConformance,
    FixedDetector,
    SourceConformance,
    TrackerConformance,
    grey_image,
)

DOCS = Path(__file__).parents[2] / "docs"
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("framehook_"))


def example(hook):
    """Return the plugin that the documentation shows under a hook's heading, as a module."""
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {hook}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/plugins.md has no heading '{hook}'"
    code = re.search(r"```python\n(.*?)```", section.group(1), re.DOTALL)
    assert code, f"docs/plugins.md shows no plugin under '{hook}'"
    module = types.ModuleType(f"example_of_{hook}")
    exec(code.group(1), module.__dict__)
    return module


class TestTheFeed(SourceConformance):
    def make(self):
        text = (DOCS / "plugins.md").read_text(encoding="utf-8")
        (code,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Feed" in code]
        module = types.ModuleType("feed")
        exec(code, module.__dict__)
        feed = module.Feed()
        for i in range(10):
            feed.pictures.put((i * 40_000_000, grey_image(640, 480, value=20 * i)))
        return feed


def test_all_that_a_summary_says_is_explained():
    text = (DOCS / "output.md").read_text(encoding="utf-8")
    told = {field.name for field in dataclasses.fields(StreamStatistics)} - {"stream"}
    told |= {field.name for field in dataclasses.fields(StreamInfo)}
    assert {name for name in told if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_an_example_that_loads(hook):
    plugins = load_plugins(extra=[example(hook)])
    assert plugins.broken == ()
    assert len(getattr(plugins.manager.hook, hook).get_hookimpls()) >= 1


STAGES = {
    "framehook_register_detectors": {"detector": "centre:size=10"},
    "framehook_register_trackers": {"tracker": "overlap"},
    "framehook_register_classifiers": {"classifiers": ["brightness"]},
    "framehook_register_analyzers": {"analyzers": ["crowd:limit=0"]},
    "framehook_register_sinks": {"sinks": ["print"]},
    "framehook_stream_started": {},
    "framehook_stream_ended": {},
}


@pytest.mark.parametrize("hook", STAGES)
def test_every_example_works_in_a_pipeline(hook, capsys):
    stages = {"detector": FixedDetector(), "tracker": "iou", "classifiers": [], **STAGES[hook]}
    pipeline = Pipeline(**stages, plugins=load_plugins(extra=[example(hook)]))
    results = list(pipeline.run([grey_image(64, 48, value=80)] * 4))
    assert [len(result.detections) for result in results] == [1, 1, 1, 1]
    printed = capsys.readouterr().out
    assert ("arrays" in printed) == (hook in ("framehook_register_sinks", "framehook_stream_started", "framehook_stream_ended"))
    if "analyzers" in STAGES[hook]:
        assert [event.kind for event in results[0].events] == ["crowd"]
    if "classifiers" in STAGES[hook]:
        assert results[-1].detections.attributes["brightness"].tolist() == [80]


class TestTheTracker(TrackerConformance):
    def make(self):
        return example("framehook_register_trackers").Overlap()


class TestTheClassifier(ClassifierConformance):
    def make(self):
        return example("framehook_register_classifiers").Brightness()


class TestTheDetector(DetectorConformance):
    def make(self):
        return example("framehook_register_detectors").Centre()


def test_the_example_of_a_source_answers_its_addresses():
    plugins = load_plugins(extra=[example("framehook_register_sources")])
    pipeline = Pipeline(detector=FixedDetector(), classifiers=[], plugins=plugins)
    assert len(list(pipeline.run("noise://7"))) == 7


def test_every_public_name_is_exported():
    assert all(getattr(framehook, name) is not None for name in framehook.__all__)
    stub = ast.parse(Path(framehook.__file__).with_suffix(".pyi").read_text())
    [listed] = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]  # what type checkers see
    assert sorted(listed) == sorted(framehook.__all__) == sorted(dir(framehook))
    with pytest.raises(ImportError, match="Pipelin"):
        from framehook import Pipelin  # noqa: F401
