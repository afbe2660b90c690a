"""Write the tables of README.md, docs/performance.md and docs/experiments.md from results/*.json: `python benchmarks/tables.py`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is there is replaced. A table without results
is left as it is.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGES = [HERE.parent / name for name in ("README.md", "docs/performance.md", "docs/experiments.md")]

Rows = Sequence[Sequence[object]]


def detector(results: Mapping[str, Any]) -> Rows:
    """A row for each clip, and a column for each backend."""
    backends = next(iter(results["clips"].values())).keys()
    rows: list[Sequence[object]] = [("clip", "frames", "faces", "facenet-pytorch", *backends, "lowest IoU")]
    for name, of in results["clips"].items():
        first = of["torch"]
        lowest = [one["min_iou"] for one in of.values() if one["min_iou"] is not None]
        ours = (f"{one['milliseconds_per_frame']:.1f} ms, {one['speed']:.1f} times as fast" for one in of.values())
        theirs = f"{first['reference_milliseconds_per_frame']:.1f} ms"
        rows.append((f"`{name}`", first["frames"], first["boxes"], theirs, *ours, f"{min(lowest):.5f}" if lowest else ""))
    return rows


def ablation(results: Mapping[str, Any]) -> Rows:
    """A row for each variant."""
    rows: list[Sequence[object]] = [("run", "UTKFace: gender", "age", "FairFace: gender", "brackets")]
    for name, of in results["variants"].items():
        gender, *others = (_percent(of[key]) for key in ("utkface_gender", "fairface_gender", "fairface_brackets"))
        rows.append((name, gender, f"{of['utkface_years']:.2f} years", *others))
    return rows


def refine(results: Mapping[str, Any]) -> Rows:
    """A row for each setting, over all clips."""
    rows: list[Sequence[object]] = [
        ("detection on every …", "recall", "median IoU", "faces that detection does not find", "track changes", "times as fast")
    ]
    for every, found in results["pooled"].items():
        named = {
            "1": "frame",
            "2": "2nd frame",
            "as chosen": "as chosen (the default)",
            "as chosen, live": "as chosen, live streams",
        }
        name = named.get(every, f"{every}th frame")
        rows.append(
            (
                name,
                _percent(found["recall"]),
                f"{found['median_iou']:.3f}",
                found["not_in_reference"],
                found["track_switches"],
                f"{found['speed']:.1f}",
            )
        )
    return rows


def throughput(results: Mapping[str, Any]) -> Rows:
    """A row for each clip."""
    against_script = ("clip, looped", "smallest face", "frames", "the usual script", "framehook", "times as fast", "recall")
    against_decoding = ("decoding alone", "framehook's share of that", "and once loaded", "overhead", "cores busy")
    rows: list[Sequence[object]] = [(*against_script, *against_decoding)]
    for name, clip in results["clips"].items():
        rates = clip["frames_per_second"]
        script, ours, decoding = (f"{rates[which]:.1f} frames/s" for which in ("script", "pipeline", "decode only"))
        rows.append(
            (
                f"`{name}`",
                f"{clip['min_face']} pixels",
                clip["frames"],
                script,
                ours,
                f"{clip['against_script']:.1f}",
                _percent(clip["recall"]),
                decoding,
                clip["against_decoding"],
                clip["against_decoding_once_loaded"],
                clip["overhead"],
                clip["cores_busy"],
            )
        )
    return rows


def headline(results: Mapping[str, Any]) -> Rows:
    """A row for each clip, of what one wants to know first."""
    rows: list[Sequence[object]] = [("clip, looped", "the usual script", "framehook", "times as fast", "of the script's faces")]
    for name, clip in results["clips"].items():
        script, ours = (f"{clip['frames_per_second'][which]:.0f} frames/s" for which in ("script", "pipeline"))
        rows.append((f"`{name}`", script, ours, f"{clip['against_script']:.1f}", _percent(clip["recall"])))
    return rows


def stages(results: Mapping[str, Any]) -> Rows:
    """A row for each clip: where the time goes."""
    names = list(dict.fromkeys(stage for clip in results["clips"].values() for stage in clip["milliseconds_per_frame"]))
    rows: list[Sequence[object]] = [("clip, ms a frame", *names)]
    for name, clip in results["clips"].items():
        rows.append((f"`{name}`", *(clip["milliseconds_per_frame"].get(stage, "") for stage in names)))
    return rows


def classifier(results: Mapping[str, Any]) -> Rows:
    """A row for each backend and precision."""
    head = ("backend, precision", "one face", "16 faces", "256 faces", "256, each in two views")
    rows: list[Sequence[object]] = [head]
    for name, rate in results["rates"].items():
        one, *many = rate.values()
        rows.append((name, f"{one:.1f} ms", *(f"{each:,}/s" for each in many)))
    return rows


def streams(results: Mapping[str, Any]) -> Rows:
    """A row for each number of streams."""
    return [
        ("streams at once", "frames/s of all together"),
        *((row["streams"], row["frames_per_second"]) for row in results["streams"]),
    ]


def faces(results: Mapping[str, Any]) -> Rows:
    """A row for each number of faces."""
    return [("faces", "ms a frame"), *((row["faces"], row["milliseconds_per_frame"]) for row in results["faces"])]


def startup(results: Mapping[str, Any]) -> Rows:
    """A row for each program."""
    return [("program", "seconds"), *((f"`{name}`", seconds) for name, seconds in results["seconds"].items())]


def endurance(results: Mapping[str, Any]) -> Rows:
    """One row."""
    memory = {int(frames): mib for frames, mib in results["resident_mib"].items()}
    first, last = min(memory), max(memory)
    return [
        ("frames", "size", "frames/s", f"memory after {first:,}", f"after {last:,}", "growth"),
        (
            f"{results['frames']:,}",
            results["size"],
            results["frames_per_second"],
            f"{memory[first]:.0f} MiB",
            f"{memory[last]:.0f} MiB",
            f"{results['growth']:.3f} times",
        ),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


TABLES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Rows]]] = {
    "ablation": ("ablation.json", ablation),
    "detector": ("detector.json", detector),
    "refine": ("refine.json", refine),
    "throughput": ("throughput.json", throughput),
    "headline": ("throughput.json", headline),
    "stages": ("throughput.json", stages),
    "classifier": ("classifier.json", classifier),
    "streams": ("scaling.json", streams),
    "faces": ("scaling.json", faces),
    "startup": ("startup.json", startup),
    "endurance": ("endurance.json", endurance),
}


def as_markdown(rows: Rows) -> str:
    """Return a table; the first row is its head."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def fill(page: str) -> str:
    """Return the page with its tables made anew."""

    def table(found: re.Match[str]) -> str:
        name = found[1]
        file, rows_of = TABLES[name]
        path = HERE / "results" / file
        if not path.exists():
            return found[0]
        return f"<!-- table: {name} -->\n{as_markdown(rows_of(json.loads(path.read_text())))}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", table, page, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
