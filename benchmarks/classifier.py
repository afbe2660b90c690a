"""How many faces a second the age and gender classifier takes: `python benchmarks/classifier.py`."""

import json
from pathlib import Path
from time import perf_counter

import machine
import numpy as np

from framehook import Detections
from framehook.testing import make_frame
from framehook_plugins.agegender.classifier import AgeGenderClassifier

OUT = Path(__file__).parent / "results" / "classifier.json"
FACES = 256
ROUNDS = 5


def main() -> None:
    """Check that both precisions agree, time them, and write the JSON."""
    random = np.random.default_rng(0)
    frame = make_frame(random.integers(0, 256, (54, 96, 3), np.uint8).repeat(20, axis=0).repeat(20, axis=1))  # 1920 x 1080
    corners = random.uniform((0, 0), (1700, 860), (FACES, 2))
    faces = Detections(boxes=np.concatenate([corners, corners + random.uniform(60, 200, (FACES, 1))], axis=1))

    ages, rates = {}, {}
    for precision in ("float32", "bfloat16"):
        for flip in (True, False):
            classifier = AgeGenderClassifier(precision=precision, flip=flip)
            (found,) = classifier.classify([frame], [faces])  # also loads the network
            ages[precision, flip] = found.attributes["age"]
            seconds = []
            for _ in range(ROUNDS):
                started = perf_counter()
                classifier.classify([frame], [faces])
                seconds.append(perf_counter() - started)
            rates[f"{precision}, {'with' if flip else 'without'} flip"] = round(FACES / min(seconds), 1)
    difference = float(np.abs(ages["float32", True] - ages["bfloat16", True]).max())
    assert difference < 2, f"bfloat16 changes an age by {difference:.2f} years"

    results = {"machine": machine.facts(), "faces_per_second": rates, "largest_age_difference_years": round(difference, 3)}
    print(json.dumps(results, indent=2))
    OUT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
