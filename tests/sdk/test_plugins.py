import sys
import types
from pathlib import Path

import pytest

from framehook import (
    Detections,
    DuplicatePluginError,
    OptionError,
    Plugin,
    PluginNotFoundError,
    Plugins,
    StageError,
    UsageError,
    hookimpl,
    load_plugins,
)

EXAMPLE = Path(__file__).parents[1] / "example_plugin"


def install(folder, monkeypatch, *, distribution, entry_point, source):
    """Lay an installed distribution into a folder, as an installer would, and put the folder on the path."""
    module = f"{distribution.replace('-', '_')}_module"
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[framehook]\n{entry_point} = {module}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)


DETECTOR = """
from framehook import Detections, hookimpl

class Detector:
    '''Find nothing.'''
    def __init__(self, *, size: int = 1): self.size = size
    def detect(self, frames): return [Detections.empty() for _ in frames]

@hookimpl
def framehook_register_detectors(register):
    register("mine", Detector)
"""


def test_the_built_in_plugins_come_in_by_the_entry_points():
    plugins = load_plugins()
    names = {(plugin.kind, plugin.name) for plugin in plugins.offered}
    assert {("detector", "mtcnn"), ("tracker", "iou"), ("classifier", "age-gender"), ("sink", "csv"), ("sink", "video")} <= names
    assert {plugin.distribution for plugin in plugins.offered} == {"framehook"}
    assert plugins.broken == ()


def test_each_loading_is_its_own():
    class Extra:
        @hookimpl
        def framehook_register_detectors(self, register):
            register("extra", lambda: None)

    assert load_plugins(extra=[Extra()]).find("detector", "extra").name == "extra"
    with pytest.raises(PluginNotFoundError, match="no detector is named 'extra'"):
        load_plugins().find("detector", "extra")


def test_an_installed_plugin_is_found_with_its_options(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, distribution="acme-faces", entry_point="acme", source=DETECTOR)
    plugins = load_plugins()
    plugin = plugins.find("detector", "mine")
    assert (plugin.distribution, plugin.version, plugin.summary) == ("acme-faces", "1.0", "Find nothing.")
    assert plugins.maker("detector", "mine:size=3")().size == 3
    assert plugins.maker("detector", {"name": "mine", "size": 4})().size == 4
    assert plugins.maker("detector", "mine", shared={"size": 5, "other": 1})().size == 5


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        (DETECTOR.replace("register(", "raise OSError('disk') or ("), "OSError: disk"),
        (DETECTOR.replace("_detectors", "_detector"), "there is no hook 'framehook_register_detector'; did you mean"),
        (DETECTOR.replace("(register)", "(registrar)"), "registrar"),
        (DETECTOR.replace('"mine", Detector', '"mine", 3'), "register('mine', …) wants a class, got 3"),
        (DETECTOR.replace('"mine"', "5"), "a detector is registered as 5: a name is letters, digits"),
        (DETECTOR.replace('"mine"', '"my/own"'), "a detector is registered as 'my/own': a name is letters, digits"),
        (DETECTOR.replace("@hookimpl", ""), "'framehook_register_detectors' is no hook yet: put @hookimpl above it"),
        (DETECTOR.replace("detectors(", "sources("), "the source 'mine' needs an option `address`: what stands behind mine://"),
        (DETECTOR.replace("size: int", "size: 'Unknown'"), "the options of the detector 'mine' cannot be read: NameError"),
    ],
    ids=[
        "import",
        "exit",
        "hook raises",
        "no such hook",
        "wrong argument",
        "no class",
        "no name",
        "bad name",
        "no decorator",
        "no address",
        "annotation of unknown type",
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_the_others_work(tmp_path, monkeypatch, source, reason):
    install(tmp_path, monkeypatch, distribution="acme-broken", entry_point="acme", source=source)
    plugins = load_plugins()
    [broken] = plugins.broken
    assert (broken.entry_point, broken.distribution) == ("acme", "acme-broken")
    assert reason in broken.reason
    assert plugins.find("detector", "mtcnn")


def test_asking_for_a_broken_plugin_says_why_it_is_not_there(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, distribution="acme-broken", entry_point="mine", source="raise OSError('disk')")
    with pytest.raises(PluginNotFoundError, match="'acme-broken/mine' is installed but broken: OSError: disk"):
        load_plugins().find("detector", "mine")


def test_an_unknown_name_says_what_there_is_and_what_is_nearest():
    with pytest.raises(PluginNotFoundError, match=r"no detector is named 'mtcn'; did you mean 'mtcnn'\? \(there are: .*mtcnn"):
        load_plugins().find("detector", "mtcn")


def test_two_distributions_with_one_name_are_told_apart_by_their_names(tmp_path, monkeypatch):
    for i, distribution in enumerate(("acme-faces", "bolt-faces")):
        folder = tmp_path / str(i)
        folder.mkdir()
        install(folder, monkeypatch, distribution=distribution, entry_point="faces", source=DETECTOR)
    plugins = load_plugins()
    with pytest.raises(DuplicatePluginError, match="'acme-faces' and 'bolt-faces': say 'acme-faces/mine' or 'bolt-faces/mine'"):
        plugins.find("detector", "mine")
    assert plugins.find("detector", "bolt-faces/mine").distribution == "bolt-faces"


def test_a_plugin_that_cannot_be_made_is_named():
    def factory() -> None:
        raise KeyError("weights")

    plugins = Plugins(lambda: ([Plugin("detector", "mine", "acme", "1", factory)], []), load_plugins().manager)
    with pytest.raises(StageError, match="plugin 'mine' could not be made: KeyError: 'weights'"):
        plugins.maker("detector", "mine")()


def test_a_table_without_a_name_is_refused():
    with pytest.raises(OptionError, match="needs its 'name'"):
        load_plugins().maker("detector", {"min_face": 3})


def test_the_example_plugin_keeps_to_the_public_names(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    import framehook_example

    plugins = load_plugins(extra=[framehook_example])
    assert isinstance(framehook_example, types.ModuleType)
    assert plugins.find("analyzer", "entry").factory is framehook_example.EntryAnalyzer
    assert plugins.maker("detector", "bright:threshold=200")().threshold == 200
    assert Detections.empty().names == ("face",)


def test_a_module_that_is_installed_too_counts_once():
    from framehook_plugins import mtcnn

    plugins = load_plugins(extra=[mtcnn, mtcnn])
    assert plugins.broken == ()
    assert plugins.find("detector", "mtcnn").distribution == "framehook"


def test_two_plugins_of_one_name_are_told_in_one_line():
    class Extra:
        @hookimpl
        def framehook_register_detectors(self, register):
            register("extra", lambda: None)

    plugins = load_plugins(extra=[Extra(), Extra()])
    [broken] = plugins.broken
    assert broken.reason == "ValueError: there is another plugin 'Extra/Extra' already, with hooks of its own: give one of them"
    assert plugins.find("detector", "extra").distribution == "Extra"


@pytest.mark.parametrize("extra", ["mine", ["mine"], sys], ids=["a name", "names", "a module"])
def test_extra_plugins_are_a_list_of_modules_or_objects(extra):
    with pytest.raises(UsageError, match="extra must be a list of modules or objects with hooks, got "):
        load_plugins(extra=extra)
