"""The sinks as the rest of framehook meets them: by name, with options as text, and cheap until used."""

import subprocess
import sys

import pytest

import framehook
from framehook_plugins import sinks

NAMES = ["csv", "json", "jsonl", "summary", "tracks", "video"]


def offered():
    factories = {}
    sinks.framehook_register_sinks(factories.__setitem__)
    return factories


def test_the_hook_offers_every_sink():
    assert sorted(offered()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_sink_takes_a_path_and_a_folder_and_keeps_the_contract(name, tmp_path):
    factory = offered()[name]
    assert {"path", "out"} <= {option.name for option in framehook.options_of(factory)}
    sink = factory(out=tmp_path)
    assert isinstance(sink, framehook.StreamSink)
    sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_files_of_a_stream_lie_in_its_folder_by_default(name):
    (default,) = (option.default for option in framehook.options_of(offered()[name]) if option.name == "path")
    assert default.startswith("{stream}/")


def test_offering_and_making_sinks_imports_neither_torch_nor_what_draws():
    program = """
import sys
from framehook_plugins import sinks
factories = {}
sinks.framehook_register_sinks(factories.__setitem__)
for factory in factories.values():
    factory()
print(sorted({"torch", "cv2", "PIL", "matplotlib"} & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr
