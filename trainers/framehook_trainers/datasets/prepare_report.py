"""The report on a preparation: one HTML page with its pictures inside, for people."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from framehook_trainers.datasets.account import Account
from framehook_trainers.datasets.faces import Faces
from framehook_trainers.datasets.fairface import BRACKETS, shown
from framehook_trainers.datasets.samples import OLDEST, Sample
from framehook_trainers.datasets.splits import SPLITS, Split, age_class_of

SHOWN = 48
"""Faces of each split in its contact sheet."""

_SIDE = 96  # pixels of a face there
_BEFORE, _AFTER = "#c3cfdd", "#23679b"
_STYLE = """
:root { color-scheme: light; --ink: #1d2733; --soft: #5d6b7a; --line: #dfe5ec; --accent: #23679b; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #f6f8fa; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
p { color: var(--soft); margin: .2rem 0 1rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1.2rem; min-width: 9rem; }
.card b { display: block; font-size: 1.6rem; line-height: 1.2; } .card span { color: var(--soft); }
table { border-collapse: collapse; background: #fff; border: 1px solid var(--line); width: 100%; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.set td { background: #eef3f8; font-weight: 600; } td.first { color: var(--soft); font-size: .85rem; word-break: break-all; }
.plot { width: 100%; border: 1px solid var(--line); border-radius: 10px; background: #fff; margin-bottom: 1rem; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(80px, 1fr)); gap: 6px; }
.faces figure { margin: 0; } .faces img { width: 100%; display: block; border-radius: 6px; }
.faces figcaption { font-size: .72rem; color: var(--soft); text-align: center; }
"""


def render(
    accounts: Sequence[Account], faces: Mapping[Split, Faces], *, settings: Mapping[str, Any], versions: Mapping[str, str]
) -> str:
    """Return the page.

    Args:
        accounts: of each set.
        faces: what was stored, by split.
        settings: how it was prepared; its seed also draws the faces that are shown.
        versions: of the libraries that took part.
    """
    read, kept = sum(account.read for account in accounts), sum(len(account.kept) for account in accounts)
    parts = [
        f"<h1>Prepared faces</h1><p>{escape(', '.join(account.name for account in accounts))}</p>",
        _cards({"pictures read": read, "left out": read - kept, "faces kept": kept, **_sizes(faces)}),
        "<h2>What was left out, and why</h2>",
        _rules(accounts),
        "<h2>Splits</h2><p>Pictures of the same content are in one split. Each age class and gender has its share.</p>",
        _splits(accounts),
        "<h2>Ages and genders, before and after</h2>",
        *(_image(plot_labels(account), f"Ages and genders of {account.name}") for account in accounts),
        *(part for split in SPLITS for part in _contact_sheet(split, faces[split], seed=settings["seed"])),
        "<h2>How it was made</h2>",
        _facts({**settings, **{f"version of {name}": version for name, version in versions.items()}}),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Prepared faces</title><style>{_STYLE}</style>'
        f"</head><body><main>\n{body}\n</main></body></html>\n"
    )


def plot_labels(account: Account) -> bytes:
    """Return a PNG: ages and genders of a set, as it was read and as it was kept."""
    figure = Figure(figsize=(10, 2.9), dpi=120, layout="constrained")
    ages, genders = figure.subplots(1, 2, width_ratios=[3.2, 1])
    _plot_ages(ages, account.labelled, account.kept)
    ages.set_title(f"{account.name}: age", loc="left", fontsize=10)
    _bars(genders, ["female", "male", "unknown"], *map(_gender_counts, (account.labelled, account.kept)))
    genders.set_title("gender", loc="left", fontsize=10)
    genders.legend(frameon=False, fontsize=8)
    for axes in (ages, genders):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _plot_ages(axes: Axes, before: Sequence[Sample], after: Sequence[Sample]) -> None:
    if any(sample.age_low != sample.age_high for sample in before):
        names = [shown(name).replace(" and more", "+") for name in BRACKETS]
        _bars(axes, names, *(np.bincount(_age_classes(some), minlength=len(names)) for some in (before, after)))
        return
    edges = list(range(0, OLDEST + 6, 5))
    for some, colour in ((before, _BEFORE), (after, _AFTER)):
        axes.hist([sample.age_low for sample in some if sample.age_low is not None], bins=edges, color=colour, rwidth=0.9)
    axes.set_xlim(0, OLDEST)
    axes.set_xlabel("years", fontsize=8)


def _bars(axes: Axes, names: Sequence[str], before: NDArray[np.int64], after: NDArray[np.int64]) -> None:
    axes.bar(names, before, color=_BEFORE, width=0.85, label="read")
    axes.bar(names, after, color=_AFTER, width=0.85, label="kept")


def _age_classes(samples: Iterable[Sample]) -> NDArray[np.int64]:
    classes = np.array([age_class_of(sample) for sample in samples], np.int64)
    return classes[classes >= 0]


def _gender_counts(samples: Sequence[Sample]) -> NDArray[np.int64]:
    return np.array([sum(sample.female is value for sample in samples) for value in (True, False, None)])


def _sizes(faces: Mapping[Split, Faces]) -> dict[str, int]:
    return {f"to {verb}": len(faces[split]) for split, verb in zip(SPLITS, ("train", "validate", "test"), strict=True)}


def _cards(numbers: Mapping[str, int]) -> str:
    cards = (f'<div class="card"><b>{number:,}</b><span>{escape(name)}</span></div>' for name, number in numbers.items())
    return f'<div class="cards">{"".join(cards)}</div>'


def _rules(accounts: Sequence[Account]) -> str:
    rows = []
    for account in accounts:
        rows.append(f'<tr class="set"><td>{escape(account.name)}</td><td class="n">{account.read:,}</td><td>read</td></tr>')
        for rule, count in account.drops.counts.items():
            first = f"first: {escape(account.drops.firsts[rule])}" if count else ""
            rows.append(f'<tr><td>{escape(rule)}</td><td class="n">{count:,}</td><td class="first">{first}</td></tr>')
        rows.append(f'<tr><td><b>kept</b></td><td class="n"><b>{len(account.kept):,}</b></td><td></td></tr>')
        rows += [f"<tr><td>note</td><td></td><td>{escape(note)}</td></tr>" for note in account.notes]
    return f'<table><tr><th>set, rule</th><th class="n">pictures</th><th></th></tr>{"".join(rows)}</table>'


def _splits(accounts: Sequence[Account]) -> str:
    head = "".join(f'<th class="n">{split}</th>' for split in SPLITS)
    rows = []
    for account in accounts:
        total = max(len(account.kept), 1)
        cells = (f'<td class="n">{account.splits[split]:,} ({account.splits[split] / total:.1%})</td>' for split in SPLITS)
        rows.append(f"<tr><td>{escape(account.name)}</td>{''.join(cells)}</tr>")
    return f"<table><tr><th>set</th>{head}</tr>{''.join(rows)}</table>"


def _contact_sheet(split: Split, faces: Faces, *, seed: int) -> list[str]:
    """Return some faces drawn by lot, the youngest first."""
    lots = np.random.default_rng([seed, SPLITS.index(split)])
    rows = np.sort(lots.choice(len(faces), min(SHOWN, len(faces)), replace=False)) if len(faces) else np.empty(0, np.int64)
    rows = rows[np.argsort(faces.ages[rows, 0], kind="stable")]
    figures = (_face(faces, row, crop) for row, crop in zip(rows.tolist(), faces.centres(rows), strict=True))
    return [
        f"<h2>{split.capitalize()}: {len(rows)} of {len(faces):,} faces</h2>",
        f'<div class="faces">{"".join(figures)}</div>',
    ]


def _face(faces: Faces, row: int, crop: NDArray[np.uint8]) -> str:
    small = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    file = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    low, high = faces.ages[row].tolist()
    age = "?" if low < 0 else f"{low}" if low == high else f"{low} to {high}"
    label = f"{('male', 'female', '?')[faces.female[row]]}, {age}"
    name = escape(f"{faces.datasets[row]}: {faces.names[row]}")
    return (
        f'<figure title="{name}"><img alt="{label}" src="{_data_uri(file.tobytes(), "jpeg")}">'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><td>{escape(name)}</td><td>{escape(_in_words(value))}</td></tr>" for name, value in facts.items())
    return f"<table>{''.join(rows)}</table>"


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _image(png: bytes, alt: str) -> str:
    return f'<img class="plot" alt="{escape(alt)}" src="{_data_uri(png, "png")}">'


def _data_uri(file: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"
