"""The worst errors, to look at: most are telling, for they show a wrong label, a wrong crop, or what the network cannot see."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from framehook_trainers.metrics import GENDERS, Answers, Labels

CropsOf: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Returns the crops of some images, (k, side, side, 3) RGB."""

_COLUMNS = 8
_ROWS = 3  # of each kind


def worst_genders(answers: Answers, labels: Labels, *, most: int) -> NDArray[np.int64]:
    """Return the images whose gender is wrong, the most confident first."""
    wrong = (labels.female >= 0) & ((answers.female >= 0.5) != (labels.female == 1))
    return _largest(np.where(wrong, np.maximum(answers.female, 1 - answers.female), 0), most)


def worst_ages(answers: Answers, labels: Labels, *, most: int) -> NDArray[np.int64]:
    """Return the images whose age lies outside of what the label allows, by the most years first."""
    beyond = np.maximum(labels.ages[:, 0] - answers.age, answers.age - labels.ages[:, 1])
    return _largest(np.where(labels.ages[:, 0] >= 0, beyond.clip(0), 0), most)


def _largest(badness: NDArray[np.floating], most: int) -> NDArray[np.int64]:
    order = np.argsort(-badness, kind="stable")[:most]
    return order[badness[order] > 0]


def gallery(answers: Answers, labels: Labels, *, crops_of: CropsOf) -> Figure:
    """Return a grid of faces, label and answer beneath each: the most confident wrong genders, then the largest errors of age."""
    blocks = [
        ("Wrong gender, the most confident first", worst_genders(answers, labels, most=_ROWS * _COLUMNS), _gender_caption),
        ("Wrong age, the largest error first", worst_ages(answers, labels, most=_ROWS * _COLUMNS), _age_caption),
    ]
    rows = [max(-(-len(images) // _COLUMNS), 1) for _, images, _ in blocks]
    figure = Figure(figsize=(1.5 * _COLUMNS, 2.05 * sum(rows) + 0.8), layout="constrained")
    places = figure.add_gridspec(2, 1, height_ratios=[count + 0.2 for count in rows])
    for place, (title, images, caption) in enumerate(blocks):
        part = figure.add_subfigure(places[place])
        part.suptitle(title if len(images) else f"{title}: none")
        grid = part.subplots(rows[place], _COLUMNS, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        if len(images):
            for axes, crop, image in zip(grid, crops_of(images), images.tolist(), strict=False):
                _show(axes, crop, caption(answers, labels, image))
    return figure


def _show(axes: Axes, crop: NDArray[np.uint8], caption: str) -> None:
    axes.imshow(crop)
    axes.text(0.5, -0.05, caption, transform=axes.transAxes, ha="center", va="top", fontsize=8.5)


def _gender_caption(answers: Answers, labels: Labels, image: int) -> str:
    female = float(answers.female[image])
    age = f", {_years(labels, image)}" if labels.ages[image, 0] >= 0 else ""
    said = GENDERS[int(female >= 0.5)]
    return f"label: {GENDERS[labels.female[image]]}{age}\nsaid: {said}, {100 * max(female, 1 - female):.1f} %"


def _age_caption(answers: Answers, labels: Labels, image: int) -> str:
    gender = f", {GENDERS[labels.female[image]]}" if labels.female[image] >= 0 else ""
    return f"label: {_years(labels, image)}{gender}\nsaid: {answers.age[image]:.0f} ± {answers.age_std[image]:.0f}"


def _years(labels: Labels, image: int) -> str:
    low, high = labels.ages[image].tolist()
    return str(low) if low == high else f"{low}-{high}"
