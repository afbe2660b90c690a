"""What the benchmarks rely on, so that they compare like with like."""

import importlib
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from framehook.testing import make_frame
from framehook_plugins import device
from framehook_plugins.mtcnn import detector as mtcnn

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture
def script(monkeypatch):
    """Import a script as it is when Python starts it: its folder is on the path."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for nvidia-smi is a shell script")
@pytest.mark.parametrize(("answer", "gpu"), [("echo H200; echo L4", "H200, L4"), ("exit 9", "none"), (None, "none")])
def test_the_machines_facts_name_its_gpus(script, tmp_path, monkeypatch, answer, gpu):
    if answer is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert script("machine").facts()["gpu"] == gpu


def test_the_usual_script_and_the_pipeline_run_on_the_same_device_and_say_how_busy_it_was(script, tmp_path, monkeypatch):
    throughput = script("throughput")
    boxes = {0: np.array([[0, 0, 9, 9]], np.float32)}
    statistics = SimpleNamespace(seconds=2.0, overhead=1.0, stage_seconds={})
    run = throughput.PipelineRun(boxes, statistics, first_seconds=0.5, processor_seconds=3.0)
    answers = {"usual_script": (boxes, 1.0), "pipeline_run": run, "decode_only": 1.0}
    devices = {}

    def alone(call, *arguments, **named):
        devices[call.__name__] = named.get("device")
        return answers[call.__name__]

    monkeypatch.setattr(throughput, "alone", alone)
    measured = throughput.measure(tmp_path, tmp_path, device="cuda", min_face=20, frames=1, script_frames=1, rounds=1)

    assert measured["cores_busy"] == 1.5
    assert devices == {"usual_script": "cuda", "pipeline_run": "cuda", "decode_only": None}


def test_the_reference_multiplies_as_exactly_as_the_detector(script, monkeypatch):
    detector = script("detector")
    inside = []

    class Reference:
        def __init__(self, **options): ...

        def detect(self, image, *, landmarks):
            inside.append(device._EXACT._inside)
            return None, None, None

    monkeypatch.setattr(detector, "MTCNN", Reference)
    detector.Reference(min_face=20, device="cuda").detect([make_frame(np.zeros((8, 8, 3), np.uint8))])

    assert inside == [1]


def test_following_is_timed_with_one_warm_detector_for_all_runs_of_a_clip(script, tmp_path, monkeypatch, shared_videos):
    refine, load, analyse = script("refine"), mtcnn.load_networks, script("refine").analyse
    (tmp_path / "clips").mkdir()
    shutil.copy(shared_videos / "head-pose-face-detection-female.gif", tmp_path / "clips")
    events = []
    monkeypatch.setattr(mtcnn, "load_networks", lambda *how: events.append("load") or load(*how))
    monkeypatch.setattr(refine, "analyse", lambda *how, **named: events.append("run") or analyse(*how, **named))
    monkeypatch.setattr(refine, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["refine.py", str(tmp_path / "clips"), "--every", "5"])

    refine.main()

    assert events == ["run", "load", *["run"] * (1 + refine.STARTS)]  # the first run loads, and is not among the timed ones
