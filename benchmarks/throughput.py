"""The whole pipeline against the script that one would write without it, and against decoding alone.

    python benchmarks/throughput.py [FOLDER OF CLIPS] [--frames 2000] [--script-frames 200] [--device cuda]

The script is the usual one: OpenCV's capture, facenet-pytorch's MTCNN on every frame, torchvision's ResNet-18 on each face, and
a csv. Both analyse the same clips, looped, on the same device, with the same smallest face, and take turns, each in a process of
its own; their time begins when everything is imported. The script takes minutes for what the pipeline does in seconds, so it does
only the first frames. It is checked that the pipeline returns every frame, and finds again what the script finds.
Writes results/throughput.json (or throughput-cuda.json) beside this file.
"""

import argparse
import csv
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time
from typing import Any, Literal, NamedTuple

import cv2
import machine
import numpy as np
import torch
from facenet_pytorch import MTCNN
from looped import loop
from numpy.typing import NDArray
from processes import alone
from torchvision.models import resnet18

from framehook import Pipeline, StreamStatistics, VideoSource, geometry

HERE = Path(__file__).resolve().parent
CLIPS = {"facenet-multiface-1080p.mp4": 40, "sign-bird-480p.mkv": 20}
"""Clips, and the smallest face to look for in each."""
LEAST_RECALL = 0.95
DECODE_THREADS = {"cpu": 1, "cuda": 4}
"""On a CPU the cores have other things to do; a GPU would wait for one thread, which decodes 1080p at some 180 frames/s."""

Boxes = NDArray[np.float32]
Device = Literal["cpu", "cuda"]


def usual_script(clip: Path, out: Path, *, device: Device, min_face: int, frames: int) -> tuple[dict[int, Boxes], float]:
    """Do what one would do without framehook; return the boxes of each frame, and the seconds."""
    start = perf_counter()
    detector = MTCNN(keep_all=True, min_face_size=min_face, device=torch.device(device))
    network = resnet18(num_classes=2).eval().to(device)
    capture = cv2.VideoCapture(str(clip))
    boxes_of = {}
    with out.open("w", newline="") as file, torch.inference_mode():
        writer = csv.writer(file)
        while True:
            there, picture = capture.read()
            if not there or len(boxes_of) == frames:
                return boxes_of, perf_counter() - start
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            found, _ = detector.detect(picture)
            boxes_of[len(boxes_of)] = boxes = np.empty((0, 4), np.float32) if found is None else found.astype(np.float32)
            for x1, y1, x2, y2 in boxes.astype(int).clip(0).tolist():
                face = cv2.resize(picture[y1 : y2 + 1, x1 : x2 + 1], (112, 112))
                pixels = torch.from_numpy(face).to(device).permute(2, 0, 1)[None].float() / 255
                writer.writerow([len(boxes_of), x1, y1, x2, y2, *network(pixels)[0].tolist()])


class PipelineRun(NamedTuple):
    """What a run of the pipeline gave."""

    boxes_of: dict[int, Boxes]
    """By frame."""
    statistics: StreamStatistics
    first_seconds: float
    """When the first result came."""
    processor_seconds: float
    """Of all threads together."""


def pipeline_run(clip: Path, out: Path, *, device: Device, min_face: int) -> PipelineRun:
    """Run the pipeline, on a CPU with its default settings."""
    pipeline = Pipeline(
        detector=f"mtcnn:min_face={min_face}",
        sinks=["csv:path=out.csv"],
        device=device,
        decode_threads=DECODE_THREADS[device],
        out=out,
    )
    start, busy, first, boxes_of = perf_counter(), process_time(), 0.0, {}
    with pipeline.run(str(clip)) as run:
        for result in run:
            first = first or perf_counter() - start
            boxes_of[result.frame.index] = result.detections.boxes
    [statistics] = run.statistics.values()
    return PipelineRun(boxes_of, statistics, first, process_time() - busy)


def decode_only(clip: Path, *, threads: int) -> float:
    """Return the seconds that decoding takes, without looking at a picture."""
    start = perf_counter()
    with VideoSource(clip, name=clip.stem, threads=threads) as source:
        for _ in source:
            pass
    return perf_counter() - start


def recall(reference: dict[int, Boxes], found: dict[int, Boxes]) -> float:
    """Return the share of the reference's boxes that were found."""
    best = [geometry.iou(boxes, found[i]).max(axis=1, initial=0) for i, boxes in reference.items()]
    return float((np.concatenate(best) >= 0.5).mean())


def measure(
    clip: Path, out: Path, *, device: Device, min_face: int, frames: int, script_frames: int, rounds: int
) -> dict[str, Any]:
    """Check, and time in turns; what counts is the mean, for all meet the same busy and quiet moments of the machine."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        expected, took = alone(usual_script, clip, out / "script.csv", device=device, min_face=min_face, frames=script_frames)
        seconds["script"].append(took)
        seconds["decode only"].append(alone(decode_only, clip, threads=DECODE_THREADS[device]))
        run = alone(pipeline_run, clip, out, device=device, min_face=min_face)
        assert sorted(run.boxes_of) == list(range(frames)), "every frame must come out"
        assert run.statistics.overhead is not None, "which takes an inference thread"
        seconds["pipeline"].append(run.statistics.seconds)
        seconds["first result"].append(run.first_seconds)
        seconds["processor"].append(run.processor_seconds)
        seconds["decode only"].append(alone(decode_only, clip, threads=DECODE_THREADS[device]))
    found_again = recall(expected, run.boxes_of)
    assert found_again >= LEAST_RECALL, f"of the script's faces only {found_again:.1%} were found"
    frames_of = {"script": len(expected), "pipeline": frames, "decode only": frames}
    rates = {name: frames_of[name] / mean(seconds[name]) for name in frames_of}
    loaded = frames / (mean(seconds["pipeline"]) - mean(seconds["first result"]))
    return {
        "min_face": min_face,
        "frames": frames,
        "decode_threads": DECODE_THREADS[device],
        "script_frames": len(expected),
        "script_faces": sum(map(len, expected.values())),
        "recall": round(found_again, 4),
        "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "frames_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "against_script": round(rates["pipeline"] / rates["script"], 2),
        "against_decoding": round(rates["pipeline"] / rates["decode only"], 3),
        "against_decoding_once_loaded": round(loaded / rates["decode only"], 3),
        "overhead": round(run.statistics.overhead, 3),
        "cores_busy": round(mean(seconds["processor"]) / mean(seconds["pipeline"]), 2),
        "milliseconds_per_frame": {stage: round(1e3 * each / frames, 2) for stage, each in run.statistics.stage_seconds.items()},
    }


def main() -> None:
    """Measure all clips, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="?", default=HERE.parents[1] / "shared" / "videos")
    parser.add_argument("--frames", type=int, default=2000, help="at least so many, by looping")
    parser.add_argument("--script-frames", type=int, default=200, help="at most so many for the script")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": machine.facts(), "device": arguments.device, "clips": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, min_face in CLIPS.items():
            with VideoSource(arguments.clips / name, name=name) as source:
                frames = sum(1 for _ in source)
            times = -(-arguments.frames // frames)
            clip = loop(arguments.clips / name, Path(folder) / name, times=times)
            report["clips"][name] = measure(
                clip,
                Path(folder),
                device=arguments.device,
                min_face=min_face,
                frames=times * frames,
                script_frames=arguments.script_frames,
                rounds=arguments.rounds,
            )
            print(name, json.dumps(report["clips"][name], indent=2), flush=True)
    (HERE / "results").mkdir(exist_ok=True)
    name = "throughput.json" if arguments.device == "cpu" else f"throughput-{arguments.device}.json"
    (HERE / "results" / name).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
