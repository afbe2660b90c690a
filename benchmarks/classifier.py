"""How fast the age and gender classifier is on each backend, in each precision: `python benchmarks/classifier.py`.

Each has a process of its own. It is checked that all say the same of the same faces. Writes results/classifier.json beside this
file.
"""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import machine
import numpy as np
from processes import alone

from framehook import Detections
from framehook.testing import make_frame
from framehook_plugins.agegender.classifier import AgeGenderClassifier

OUT = Path(__file__).parent / "results" / "classifier.json"
FACES = 256
SECONDS = 3.0  # of each measurement
CONTESTANTS = [
    *(("torch", precision) for precision in ("float32", "bfloat16")),
    *(("openvino", precision) for precision in ("float32", "bfloat16")),
    ("onnxruntime", "float32"),
]


def measure(backend: Any, precision: Any) -> tuple[list[float], dict[str, float]]:
    """Return the ages that one of them says, and how fast it is."""
    random = np.random.default_rng(0)
    frame = make_frame(random.integers(0, 256, (54, 96, 3), np.uint8).repeat(20, axis=0).repeat(20, axis=1))  # 1920 x 1080
    corners = random.uniform((0, 0), (1700, 860), (FACES, 2))
    faces = Detections(boxes=np.concatenate([corners, corners + random.uniform(60, 200, (FACES, 1))], axis=1))

    def seconds(n: int, *, flip: bool) -> float:
        """Return the least that n faces take."""
        classifier = AgeGenderClassifier(backend=backend, precision=precision, flip=flip)
        some, took = faces[np.arange(n)], []
        classifier.classify([frame], [some])  # loads the network
        begun = perf_counter()
        while perf_counter() - begun < SECONDS:
            started = perf_counter()
            classifier.classify([frame], [some])
            took.append(perf_counter() - started)
        return min(took)

    (found,) = AgeGenderClassifier(backend=backend, precision=precision).classify([frame], [faces])
    return found.attributes["age"].tolist(), {
        "milliseconds_of_one_face": round(1e3 * seconds(1, flip=False), 2),
        "faces_per_second_of_16": round(16 / seconds(16, flip=False)),
        "faces_per_second_of_256": round(FACES / seconds(FACES, flip=False)),
        "faces_per_second_of_256_in_two_views": round(FACES / seconds(FACES, flip=True)),
    }


def main() -> None:
    """Time them, check that they agree, and write the JSON."""
    ages, rates = {}, {}
    for backend, precision in CONTESTANTS:
        name = f"{backend}, {precision}"
        ages[name], rates[name] = alone(measure, backend, precision)
        print(name, rates[name], flush=True)
    differences = {name: float(np.abs(np.subtract(some, ages["torch, float32"])).max()) for name, some in ages.items()}
    for name, difference in differences.items():
        allowed = 2 if "bfloat16" in name else 0.05
        assert difference < allowed, f"{name} changes an age by {difference:.2f} years"

    results = {
        "machine": machine.facts(),
        "rates": rates,
        "largest_age_difference_years": {name: round(difference, 3) for name, difference in differences.items()},
    }
    OUT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
