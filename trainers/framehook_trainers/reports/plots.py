"""What a person looks at to judge a run: figures of answers and labels, without matplotlib's global state.

The colours are those of Okabe and Ito (2008) and single-hue maps, which every kind of colour vision tells apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from framehook_trainers.calibration import BINS, reliability
from framehook_trainers.datasets.fairface import BRACKETS, shown
from framehook_trainers.metrics import GENDERS, Answers, Labels, bracket_of

_BLUE, _ORANGE, _GREEN, _BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
_LINES = (_BLUE, _ORANGE, _GREEN, "#CC79A7", "#56B4E9", "#E69F00")
_OLDEST = 101
_LEAST_FOR_MEAN = 5

# Panels of the learning curves: what a measurement's name ends in, the axis, and what turns the number into its unit.
_PANELS = (
    ("gender.accuracy", "gender right (%)", 100),
    ("age.mae", "mean absolute error of age (years)", 1),
    ("age.within_5", "age within 5 years (%)", 100),
    ("age.bracket_accuracy", "age in the right bracket (%)", 100),
)


def learning_curves(log: Sequence[Mapping[str, Any]]) -> Figure:
    """Return one panel for each kind of number in a run's log: losses, measurements on the validation split, learning rate.

    Args:
        log: one mapping an epoch, with `epoch`, `rate`, and by name `losses` and what `validation` measured.
    """
    panels = list(_panels(log))
    columns = min(max(len(panels), 1), 3)
    rows = -(-max(len(panels), 1) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    for place, (label, scale, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        for colour, (name, points) in zip(_LINES * len(lines), lines.items(), strict=False):
            epochs, numbers = np.array(points).T
            axes.plot(epochs, numbers * scale, color=colour, marker=".", label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def _panels(log: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, dict[str, list[tuple[float, float]]]]]:
    """Yield the axis, the scale and the points by line of each panel that the log has numbers for."""
    series: dict[str, list[tuple[float, float]]] = {}
    for entry in log:
        for name, number in _numbers(entry):
            series.setdefault(name, []).append((float(entry["epoch"]), number))
    if losses := _below(series, "losses."):
        yield "loss", 1, losses
    measured = _below(series, "validation.")
    for ending, label, scale in _PANELS:
        names = [name for name in measured if name.endswith(ending)]
        if names:
            # A line is called what stands before the measurement's name: the set that was measured.
            yield label, scale, {name.removesuffix(ending).rstrip("./_ ") or "validation": measured.pop(name) for name in names}
    for name, points in measured.items():
        yield name, 1, {"validation": points}
    if rates := series.get("rate"):
        yield "learning rate", 1, {"last of the epoch": rates}


def _below(series: Mapping[str, list[tuple[float, float]]], start: str) -> dict[str, list[tuple[float, float]]]:
    return {name.removeprefix(start): points for name, points in series.items() if name.startswith(start)}


def _numbers(line: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Yield the dotted name and the value of each number."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{name}.")
        elif isinstance(value, int | float):
            yield f"{before}{name}", float(value)


def gender_confusion(answers: Answers, labels: Labels) -> Figure:
    """Return how often each gender is taken for which."""
    known = labels.female >= 0
    counts = _confusion(labels.female[known], (answers.female[known] >= 0.5).astype(np.int64), len(GENDERS))
    return _draw_confusion(counts, names=GENDERS, size=(4.6, 4.0), what="gender")


def bracket_confusion(answers: Answers, labels: Labels) -> Figure:
    """Return how often each of FairFace's brackets of ages is taken for which."""
    brackets = labels.brackets
    known = brackets >= 0
    counts = _confusion(brackets[known], bracket_of(answers.age[known]), len(BRACKETS))
    return _draw_confusion(counts, names=tuple(map(shown, BRACKETS)), size=(8.2, 7.2), what="age")


def _confusion(true: NDArray[np.integer], said: NDArray[np.integer], kinds: int) -> NDArray[np.int64]:
    return np.bincount(true.astype(np.int64) * kinds + said, minlength=kinds**2).reshape(kinds, kinds)


def _draw_confusion(counts: NDArray[np.int64], *, names: Sequence[str], size: tuple[float, float], what: str) -> Figure:
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = shares[row, column] > 55
            text = f"{shares[row, column]:.0f} %\n{count:,}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=30 if len(names) > 3 else 0, ha="right" if len(names) > 3 else "center")
    axes.set_yticks(ticks, [f"{name}\n({total:,})" for name, total in zip(names, counts.sum(axis=1).tolist(), strict=True)])
    axes.set(
        xlabel=f"estimated {what}", ylabel=f"labelled {what} (images)", title=f"{counts.trace() / max(counts.sum(), 1):.1%} right"
    )
    figure.colorbar(image, label="share of the label's images (%)", shrink=0.8)
    return figure


def predicted_against_true(answers: Answers, labels: Labels) -> Figure:
    """Return how estimated ages lie over the labelled ones: a histogram in two dimensions, the diagonal, and the mean.

    Where no age is exact, a column is as wide as the label's bracket.
    """
    exact = labels.exact
    if exact.any():
        true, said = labels.ages[exact, 0].astype(float), answers.age[exact]
        edges = np.arange(-0.5, _OLDEST + 22, 3.0)  # three whole years each
    else:
        brackets = labels.brackets
        edges = np.array([low for low, _ in BRACKETS.values()] + [_OLDEST], float)
        true, said = ((edges[:-1] + edges[1:]) / 2)[brackets[brackets >= 0]], answers.age[brackets >= 0]
    figure = Figure(figsize=(7.0, 5.8), layout="constrained")
    axes = figure.add_subplot()
    if len(true):
        said = said.clip(0, _OLDEST + 20)  # what a network that learnt nothing says may lie anywhere
        counts, _, _, image = axes.hist2d(
            true, said, bins=(edges, np.arange(0, _OLDEST + 22, 2.0)), cmap="Blues", norm=LogNorm(vmin=0.4)
        )
        whole = [step * 10**power for power in range(6) for step in (1, 2, 5) if step * 10**power <= counts.max()]
        figure.colorbar(image, label="images (logarithmic)", ticks=whole, format="%g").minorticks_off()
        middles, means = _binned_mean(true, said, edges)
        axes.plot(middles, means, color=_ORANGE, marker="o", markersize=4, label="mean estimate")
    end = max(_OLDEST - 1.0, float(np.max(true, initial=0))) + 2
    axes.plot([0, end], [0, end], color=_BLACK, linestyle="--", linewidth=1, label="estimate = label")
    axes.set(xlabel="labelled age (years)", ylabel="estimated age (years)", xlim=(0, end), ylim=(0, end))
    axes.legend(loc="upper left")
    return figure


def _binned_mean(
    x: NDArray[np.floating], y: NDArray[np.floating], edges: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each bin and the mean of y in it, of bins with enough images for one."""
    places = (np.searchsorted(edges, x, side="right") - 1).clip(0, len(edges) - 2)
    counts = np.bincount(places, minlength=len(edges) - 1)
    enough = counts >= _LEAST_FOR_MEAN
    sums = np.bincount(places, y, len(edges) - 1)
    return ((edges[:-1] + edges[1:]) / 2)[enough], sums[enough] / counts[enough]


def reliability_diagram(answers: Answers, labels: Labels) -> Figure:
    """Return how often the gender is right at each confidence, with the number of images and the calibration error."""
    found = reliability(answers.female, labels.female)
    figure = Figure(figsize=(5.6, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_reliability(above, found.counts, found.confidence, found.accuracy)
    above.set_title(f"expected calibration error {found.ece:.1%}" if np.isfinite(found.ece) else "no image with a gender")
    edges = np.arange(BINS) / BINS
    below.bar(edges, found.counts, width=1 / BINS, align="edge", color=_BLUE, edgecolor="white")
    below.set(xlabel="confidence: probability of the likelier gender (%)", ylabel="images")
    if found.counts.any():
        below.set(yscale="log", ylim=(0.8, None))
    below.set(xlim=(0.5 - 0.5 / BINS, 1), xticks=np.arange(0.5, 1.01, 0.1), xticklabels=[str(x) for x in range(50, 101, 10)])
    return figure


def _draw_reliability(
    axes: Axes, counts: NDArray[np.int64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> None:
    some = counts > 0
    spread = 196 * np.sqrt(accuracy[some] * (1 - accuracy[some]) / counts[some])  # 95 % of a normal approximation
    axes.bar(np.flatnonzero(some) / BINS, 100 * accuracy[some], 1 / BINS, align="edge", color=_BLUE, alpha=0.35)
    axes.errorbar(
        confidence[some],
        100 * accuracy[some],
        yerr=spread,
        color=_BLUE,
        marker="o",
        linestyle="",
        capsize=3,
        label="gender right",
    )
    axes.plot([0.5, 1], [50, 100], color=_BLACK, linestyle="--", linewidth=1, label="as often as it says")
    lowest = float(np.min(100 * accuracy[some] - spread, initial=50))
    axes.set(ylabel="gender right (%)", ylim=(max(lowest - 3, 0), 102))
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
