"""How long commands and imports take to begin: `python benchmarks/startup.py`.

Each is run several times in a process of its own, and the fastest counts. It is checked that none of them loads
torch or another heavy package, and that a run loads nothing heavy beyond torch. Writes results/startup.json beside this file.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import machine

HERE = Path(__file__).resolve().parent
ROUNDS = 7
PROGRAMS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import framehook": "import framehook",
    "from framehook import Pipeline": "from framehook import Pipeline",
    "framehook --help": "import sys; from framehook_cli.main import run; sys.exit(run(['--help']))",
    "framehook plugins list": "import sys; from framehook_cli.main import run; sys.exit(run(['plugins', 'list']))",
}
WITHOUT = ("torch", "cv2", "scipy", "matplotlib")
RUN = """
import numpy as np
from framehook import Pipeline
noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
with Pipeline(sinks=[]).run(iter([noise])) as run:
    list(run)
"""
RUNS_WITHOUT = ("torchvision", "torch._dynamo", "scipy", "matplotlib")


def seconds(program: str) -> float:
    """Return how long a program takes, at best."""
    return min(_timed([sys.executable, "-c", program]) for _ in range(ROUNDS))


def _timed(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


def loaded(program: str, packages: Sequence[str]) -> list[str]:
    """Return which of some packages a program loads."""
    program = program.replace("sys.exit(", "(")
    check = f"{program}\nimport sys\nprint(*[name for name in {packages} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    return done.stderr.split()


def main() -> None:
    """Check, time, and write the JSON."""
    for name, program in PROGRAMS.items():
        assert not (heavy := loaded(program, WITHOUT)), f"{name} loads {heavy}"
    assert not (heavy := loaded(RUN, RUNS_WITHOUT)), f"a run loads {heavy}"
    programs = {**PROGRAMS, "a run of one frame": RUN}
    results = {"machine": machine.facts(), "seconds": {name: round(seconds(program), 3) for name, program in programs.items()}}
    print(json.dumps(results, indent=2))
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "startup.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
