"""What a run leaves for people: metrics, plots, the worst errors and a model card, each file whole or not at all."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from framehook import OutputError
from framehook_plugins.agegender.checkpoint import Header
from framehook_plugins.whole import whole_file
from framehook_trainers.metrics import Answers, Labels, measure
from framehook_trainers.reports import plots
from framehook_trainers.reports.card import model_card
from framehook_trainers.reports.gallery import CropsOf, gallery

METRICS, CARD, CURVES = "metrics.json", "model-card.md", "learning-curves.png"
_DOTS_PER_INCH = 120


def write_run_report(
    folder: Path,
    *,
    header: Header,
    answers: Answers,
    labels: Labels,
    crops_of: CropsOf,
    log: Sequence[Mapping[str, Any]],
    only_gender: str | None = None,
) -> dict[str, Any]:
    """Write all that judges a run into its folder, and return the metrics.

    Args:
        folder: made where it is not there; its name is the model's.
        header: of the weights file.
        answers: on the test split.
        labels: of the same images.
        crops_of: returns the crops of some of these images, for the gallery.
        log: the run's `log.jsonl`, one mapping an epoch.
        only_gender: of all training faces, where they have but one.

    Raises:
        OutputError: a file cannot be written.
    """
    metrics = measure(answers, labels)
    write_text(folder / METRICS, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    if log:
        _write_figure(folder / CURVES, plots.learning_curves(log))
    write_plots(folder, answers=answers, labels=labels, crops_of=crops_of)
    card = model_card(folder.resolve().name, header=header, metrics=metrics, log=log, only_gender=only_gender)
    write_text(folder / CARD, card)
    return metrics


def write_plots(folder: Path, *, answers: Answers, labels: Labels, crops_of: CropsOf) -> None:
    """Write what pictures say of answers, as PNG.

    Raises:
        OutputError: a file cannot be written.
    """
    figures: dict[str, Callable[[], Figure]] = {
        "confusion-gender.png": lambda: plots.gender_confusion(answers, labels),
        "confusion-age.png": lambda: plots.bracket_confusion(answers, labels),
        "predicted-age.png": lambda: plots.predicted_against_true(answers, labels),
        "reliability.png": lambda: plots.reliability_diagram(answers, labels),
        "worst-errors.png": lambda: gallery(answers, labels, crops_of=crops_of),
    }
    for name, draw in figures.items():
        _write_figure(folder / name, draw())


def _write_figure(path: Path, figure: Figure) -> None:
    with _whole(path) as part:
        figure.savefig(part, format="png", dpi=_DOTS_PER_INCH)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with _whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a file beside `path` that takes its place once it is written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            yield part
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}; choose another place, or make room") from error
