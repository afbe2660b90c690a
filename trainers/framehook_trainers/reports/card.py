"""The model card that stands next to a weights file: what it is for, how it was made, how right it is and for whom less so.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from framehook_plugins.agegender.checkpoint import Header
from framehook_plugins.agegender.outputs import AgeClasses, AgeDistribution
from framehook_trainers.calibration import is_fitted
from framehook_trainers.datasets.fairface import shown
from framehook_trainers.metrics import FEWEST, value_at

# Each metric: its dotted name, what the card calls it, and its unit.
_METRICS: tuple[tuple[str, str, Literal["%", "", " years"]], ...] = (
    ("gender.accuracy", "gender right", "%"),
    ("gender.auc", "gender, area under the ROC curve", ""),
    ("calibration.ece", "gender, expected calibration error", "%"),
    ("age.mae", "age, mean absolute error", " years"),
    ("age.bias", "age, mean error (positive: taken for older)", " years"),
    ("age.within_5", "age within 5 years", "%"),
    ("age.bracket_accuracy", "age in the right one of nine brackets", "%"),
    ("age.bracket_within_one", "age at most one bracket off", "%"),
    ("calibration.age_coverage", "labelled age within the estimate ± its standard deviation", "%"),
)
_BY_GROUP = {
    "gender.accuracy": "gender right",
    "age.mae": "age error",
    "age.bias": "mean error",
    "age.within_5": "within 5 years",
    "age.bracket_accuracy": "right bracket",
}
_NAMES = {name: words for name, words, _ in _METRICS}
_MUCH_BIAS_YEARS = 2.0


_EARLIER = (
    " **The weights that it began with, or was taught by, may have seen some of these images**, unless they come from the same "
    "splits: then the numbers are better than they would be on other images."
)


def built_on_others(header: Header) -> bool:
    """Say whether other weights stand behind these: what those have seen is not known here."""
    return "; " in header.training_data  # as `Design.header` tells of them


def model_card(
    name: str,
    *,
    header: Header,
    metrics: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    hardware: str | None = None,
    only_gender: str | None = None,
) -> str:
    """Return the card in Markdown.

    Args:
        name: of the model.
        header: of the weights file.
        metrics: what `measure` says of the test split.
        log: the run's log, one mapping an epoch, with its `seconds` and `images_per_second`.
        hardware: where it was trained; this machine where not given.
        only_gender: of all training faces, where they have but one; None: they have both.
    """
    sections = [
        f"# {name}",
        "Estimates how old a face looks and whether it looks female or male, for framehook's classifier `age-gender`. **It is an "
        "estimate of how a face looks, no fact about a person**: meant for counts and averages over many people; do not decide "
        "about anybody by it.",
        _table(["", ""], _facts(header, log, hardware or this_machine())),
        "## Data and licence",
        f"Trained on {header.training_data}.\n\n{header.licence}",
        "## Measured",
        f"On {metrics['images']:,} images of the test split, none of which this training saw: prepared crops, each with its "
        "mirror image. Beside each number stands the interval that holds 95 % of 1000 bootstrap resamples of these images."
        f"{_EARLIER if built_on_others(header) else ''}",
        _table(["", "value", "95 % of resamples"], _measured(metrics)),
        *_data_sets(header),
        *_groups(metrics["groups"]),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(header, metrics, only_gender)),
    ]
    return "\n\n".join(sections) + "\n"


def _facts(header: Header, log: Sequence[Mapping[str, Any]], hardware: str) -> Iterator[tuple[str, str]]:
    options = ", ".join(f"{name} {value}" for name, value in header.options.items())
    yield "network", f"`{header.architecture}`{f' ({options})' if options else ''}"
    beyond = "its edge, repeated" if header.crop_border == "edge" else "white"
    yield "input", f"{header.colour}, {header.input_size} x {header.input_size} pixels"
    yield "crop", f"MTCNN's box with margin {header.crop_margin:g} and shift {header.crop_shift:g}; beyond the picture {beyond}"
    yield "output", f"age: {_age_layout(header)}; gender: the probability of *female*"
    yield "ages in training", f"{header.age_range[0]} to {header.age_range[1]} years"
    yield "made by", f"`{header.recipe}`"
    if log:
        yield "training", _duration(log)
    yield "hardware", hardware
    yield "date", header.date


def _age_layout(header: Header) -> str:
    layout = header.outputs.age
    if isinstance(layout, AgeDistribution):
        return f"mean and standard deviation of a distribution over the years {layout.first} to {layout.last}"
    if isinstance(layout, AgeClasses):
        return f"mean and standard deviation of a distribution over {layout.size} brackets of years"
    return f"one number, its standard deviation always {layout.std:.1f} years"


def _duration(log: Sequence[Mapping[str, Any]]) -> str:
    seconds = sum(line["seconds"] for line in log)
    images = sum(line["seconds"] * line["images_per_second"] for line in log)
    return f"{len(log)} epoch{'s' if len(log) > 1 else ''}, {seconds:,.0f} seconds, {images / max(seconds, 1e-9):,.0f} images/s"


def this_machine() -> str:
    """Return what this machine computes with, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    model = platform.processor() or platform.machine()
    if (cpu := Path("/proc/cpuinfo")).is_file():
        names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}"


def _measured(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, words, unit in _METRICS:
        if value_at(metrics, name) is not None:
            low, high = value_at(metrics, f"{name}_95")
            yield words, f"{_number(value_at(metrics, name), unit)}", f"{_number(low, unit)} to {_number(high, unit)}"


def _data_sets(header: Header) -> Iterator[str]:
    """Yield a table of what each set's part of the split gives, where there are several: sets differ in what they ask."""
    if len(header.metrics) < 2:
        return
    units = {name: unit for name, _, unit in _METRICS}
    columns = [name for name in _NAMES if any(name in measured for measured in header.metrics.values())]
    yield "By data set, with the same intervals:"
    yield _table(
        ["part", *(_NAMES[name] for name in columns)],
        [
            [part, *(_with_interval(measured[name], units[name]) if name in measured else "-" for name in columns)]
            for part, measured in header.metrics.items()
        ],
    )


def _with_interval(measured: Mapping[str, float], unit: str) -> str:
    value, low, high = (_number(measured[which], unit) for which in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _groups(groups: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table for each dimension that has groups, and the largest gap in words."""
    units = {name: unit for name, _, unit in _METRICS}
    for dimension in ("age", "gender", "race"):
        if not groups[dimension]:
            continue
        columns = [name for name in _BY_GROUP if any(value_at(of, name) is not None for of in groups[dimension].values())]
        rows = [
            [shown(group), f"{of['images']:,}", *(_number(value_at(of, name), units[name]) for name in columns)]
            for group, of in groups[dimension].items()
        ]
        yield f"By {dimension}, as labelled:"
        yield _table([dimension, "images", *(_BY_GROUP[name] for name in columns)], rows)
    if gap := groups["largest_gap"]:
        yield f"**Largest gap** between groups of at least {FEWEST} images: {_in_words(gap)}."


def _in_words(gap: Mapping[str, Any]) -> str:
    best, worst = (
        f"{_number(gap[end]['value'], '%')} of {gap[end]['images']:,} '{shown(gap[end]['group'])}'" for end in ("best", "worst")
    )
    return f"{_NAMES[gap['metric']]}, by {gap['dimension']}: {best} against {worst}"


def _limits(header: Header, metrics: Mapping[str, Any], only_gender: str | None) -> Iterator[str]:
    yield "The data labels gender as one of two words, by the look of a face, and race by the look, too. So does this card."
    yield f"It learned from faces of {header.age_range[0]} to {header.age_range[1]} years; outside of that it guesses."
    if only_gender is not None:
        yield f"All faces that it learned genders from are {only_gender}: what it says of gender means nothing."
    if not is_fitted(temperature := header.outputs.gender_temperature):
        yield f"The gender probability is not calibrated: its temperature ran to an end of its range, {temperature:.3g}."
    yield from _biases(metrics["groups"]["age"])
    for gap in metrics["groups"]["gaps"]:
        if gap["metric"] == "gender.accuracy" and _is_beyond_chance(gap, metrics["groups"]):
            yield f"Not as good for all: {_in_words(gap)}."
    yield "Turned, covered, blurred or very small faces are guessed at; the plugin gives such views little weight in their track."


def _biases(ages: Mapping[str, Any]) -> Iterator[str]:
    """Yield which ages are taken for others on average, by enough years and images to matter."""
    counted = {age: of["age"]["bias"] for age, of in ages.items() if of["age"]["exact"] >= FEWEST}
    for direction, sign in (("older", 1), ("younger", -1)):
        biased = [f"{shown(age)} (by {abs(bias):.1f} years)" for age, bias in counted.items() if sign * bias >= _MUCH_BIAS_YEARS]
        if biased:
            yield f"On average these look {direction} to it than labelled: {', '.join(biased)}."


def _is_beyond_chance(gap: Mapping[str, Any], groups: Mapping[str, Any]) -> bool:
    """Say whether the intervals of the best and the worst group lie apart."""
    best, worst = (value_at(groups[gap["dimension"]][gap[end]["group"]], f"{gap['metric']}_95") for end in ("best", "worst"))
    return bool(best[0] > worst[1])


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f}{unit}" if unit else f"{value:.3f}"


def _table(headings: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
