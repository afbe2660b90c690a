"""Run the whole pipeline over a long recording, and watch memory.

    python benchmarks/endurance.py CLIP [--frames 10000]

The clip is looped into one file. Every frame must come out, in order. Writes results/endurance.json beside this file, and fails
where memory after the last frame exceeds that after the first thousand by more than 5 %.
"""

import argparse
import json
import sys
import tempfile
from itertools import count
from pathlib import Path
from time import perf_counter

import machine
from looped import loop

from framehook import Pipeline, VideoSource

HERE = Path(__file__).resolve().parent
ALLOWED = 1.05
SETTLED = 1_000


def main() -> None:
    arguments = parse()
    with VideoSource(arguments.clip, name=arguments.clip.stem) as source:
        info, once = source.info, sum(1 for _ in source)
    times = -(-arguments.frames // once)
    memory = {}
    with tempfile.TemporaryDirectory() as out:
        clip = loop(arguments.clip, Path(out) / arguments.clip.name, times=times)
        pipeline = Pipeline(detector="mtcnn:min_face=40", sinks=["csv", "jsonl", "tracks", "summary"], out=Path(out) / "results")
        start, expected = perf_counter(), count()
        with pipeline.run(clip) as run:
            for result in run:
                assert result.frame.index == next(expected), "frames must come out in order, and all of them"
                if (done := result.frame.index + 1) % SETTLED == 0:
                    memory[done] = resident_mib()
                    print(f"{done} frames, {memory[done]:.0f} MiB, {done / (perf_counter() - start):.1f} frames/s", flush=True)
        [statistics] = run.statistics.values()
    assert statistics.processed == times * once
    growth = memory[max(memory)] / memory[SETTLED]
    report = {
        "machine": machine.facts(),
        "clip": arguments.clip.name,
        "frames": statistics.processed,
        "size": f"{info.width} x {info.height}",
        "frames_per_second": round(statistics.processed / statistics.seconds, 1),
        "tracks": statistics.tracks,
        "resident_mib": {str(done): round(mib, 1) for done, mib in memory.items()},
        "growth": round(growth, 4),
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "endurance.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"memory after {max(memory)} frames is {growth:.3f} times that after {SETTLED}")
    sys.exit(growth > ALLOWED)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=10_000)
    return parser.parse_args()


def resident_mib() -> float:
    """Return the memory that this process holds now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
