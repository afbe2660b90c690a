"""How the pipeline's time grows with streams and with faces: `python benchmarks/scaling.py [FOLDER OF CLIPS]`.

Streams: the same clip 1 to 16 times at once; frames a second of all together should stay as they are. Faces: 0 to 50 of them
in 1920 x 1080; each must be found, and the milliseconds of a frame should grow with their number and no faster. Writes
results/scaling.json beside this file.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import machine
import numpy as np
from matplotlib import get_data_path

from framehook import Image, Pipeline, VideoSource

HERE = Path(__file__).resolve().parent
CLIP = "face-demographics-walking-and-pause.gif"
STREAMS = (1, 2, 4, 8, 16)
FACES = (0, 1, 2, 5, 10, 20, 50)
FRAMES = 20
WIDTH, HEIGHT, FACE = 1920, 1080, 150


def streams(clip: Path, number: int) -> dict[str, Any]:
    """Run a clip so many times at once."""
    with VideoSource(clip, name=clip.stem) as source:
        frames = sum(1 for _ in source)
    pipeline = Pipeline()
    list(pipeline.run(str(clip)))  # loads the models
    start = perf_counter()
    results = sum(1 for _ in pipeline.run([str(clip)] * number))
    took = perf_counter() - start
    assert results == number * frames, f"{number} streams of {frames} frames gave {results} results"
    return {"streams": number, "frames_per_second": round(results / took, 1)}


def street(faces: int) -> Image:
    """Return a grey picture with so many copies of the portrait that comes with matplotlib."""
    portrait = next(iter(VideoSource(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg", name="portrait"))).image
    head = cv2.resize(portrait[20:420, 100:420], (FACE * 4 // 5, FACE), interpolation=cv2.INTER_AREA)
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    places = list(product(range(HEIGHT // (FACE + 20)), range(WIDTH // (FACE + 10))))
    for row, column in places[:faces]:
        top, left = row * (FACE + 20) + 10, column * (FACE + 10) + 5
        picture[top : top + head.shape[0], left : left + head.shape[1]] = head
    return picture


def crowd(faces: int) -> dict[str, Any]:
    """Analyse a picture with so many faces, again and again."""
    picture = street(faces)
    pipeline = Pipeline(detector="mtcnn:min_face=40")
    list(pipeline.run([picture] * 2))
    with pipeline.run([picture] * FRAMES) as run:
        found = [len(result.detections) for result in run]
    assert min(found) >= faces * 0.98, f"of {faces} faces {min(found)} were found"
    [statistics] = run.statistics.values()
    return {"faces": faces, "milliseconds_per_frame": round(1e3 * statistics.seconds / FRAMES, 1)}


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="?", default=HERE.parents[1] / "shared" / "videos")
    arguments = parser.parse_args()
    results = {
        "machine": machine.facts(),
        "streams": [streams(arguments.clips / CLIP, number) for number in STREAMS],
        "faces": [crowd(number) for number in FACES],
    }
    print(json.dumps(results, indent=2))
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "scaling.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
