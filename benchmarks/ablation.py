"""What each idea of the recipe `framehook` is worth in short runs: `python benchmarks/ablation.py --faces runs/faces`.

Each variant begins afresh and is trained alike but for the settings named, then measured on the test split. The runs are short
and the network is small: they say what an idea does early on, not in the end. The base with another seed shows how much is
chance. What lies in the folder of the runs is not trained again. Writes results/ablation.json beside this file; with `--added`
only variants that it lacks are trained, and its rows stay.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import machine
from processes import alone

from framehook_cli.main import run
from framehook_plugins.agegender import checkpoint

RESULTS = Path(__file__).resolve().parent / "results" / "ablation.json"
BASE = {
    "network": "resnet",
    "width": 32,
    "input_size": 64,
    "epochs": 3,
    "calm_epochs": 1,
    "utkface_repeats": 1.0,
    "spoil_share": 0.3,
    "peak_rate": 3e-3,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe from scratch, but short and small": {},
    "the same, another seed": {"seed": 1},
    "each age a single year instead of a Gaussian": {"age_sigma": 0.1},
    "UTKFace alone, as many steps": {"datasets": ["utkface"], "epochs": 9, "calm_epochs": 3},
    "no averaged weights": {"average": 0.0},
    "half of the loss by a teacher, agegender-research": {"teachers": "agegender-research"},
    "faces blended with one another (mixup, 0.2)": {"mixup_alpha": 0.2},
    "no view spoiled or covered": {"spoil_share": 0.0, "erase_share": 0.0},
    "nine age classes equally often": {"balance": 1.0},
    "no loss of the mean age": {"age_mean_weight": 0.0},
}


def train(settings: Mapping[str, Any], *, faces: Path, out: Path) -> None:
    """Train one variant, if it is not there already."""
    if not (out / "model.safetensors").is_file():
        written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in {**BASE, **settings}.items()}
        chosen = [f"--set={name}={value}" for name, value in written.items()]
        assert alone(run, ["train", "framehook", "--faces", str(faces), "--out", str(out), *chosen]) == 0


def measured(out: Path) -> dict[str, float]:
    """Return what the table shows of a run: of its test splits."""
    metrics = checkpoint.read_header(out / "model.safetensors").metrics
    utkface, fairface = metrics["utkface test"], metrics["fairface test"]
    return {
        "utkface_gender": utkface["gender.accuracy"]["value"],
        "utkface_years": utkface["age.mae"]["value"],
        "fairface_gender": fairface["gender.accuracy"]["value"],
        "fairface_brackets": fairface["age.bracket_accuracy"]["value"],
    }


def main() -> None:
    """Train, measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, default=Path("runs/faces"), help="what `framehook prepare` wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="where the runs go")
    parser.add_argument("--added", action="store_true", help="train only what results/ablation.json lacks")
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text())["variants"] if options.added else {}
    for i, (name, settings) in enumerate(VARIANTS.items()):
        if name in rows:
            continue
        out = options.runs / str(i)
        train(settings, faces=options.faces, out=out)
        rows[name] = {"settings": settings, **measured(out)}
        print(name, rows[name], flush=True)
    results = {"machine": machine.facts(), "base": BASE, "variants": rows}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
