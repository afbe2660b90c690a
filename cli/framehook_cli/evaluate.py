"""`framehook evaluate`: how right weights are, on labelled pictures."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table

from framehook import OutputError
from framehook_cli.outputs import begun, check_writable, verbose_option, work_meter

FORMATS = ("utkface", "fairface", "imdb-wiki", "table")
_NAMED = 5  # pictures that cannot be read; the JSON names all

# What is shown of each metric: its dotted name, a heading, and its unit.
_METRICS: tuple[tuple[str, str, Literal["%", "", "years"]], ...] = (
    ("gender.accuracy", "gender right", "%"),
    ("gender.auc", "gender: area under the ROC curve", ""),
    ("age.mae", "age: mean absolute error", "years"),
    ("age.bias", "age: mean error", "years"),
    ("age.within_5", "age within 5 years", "%"),
    ("age.bracket_accuracy", "age in the right bracket of nine", "%"),
    ("age.bracket_within_one", "age at most one bracket off", "%"),
    ("calibration.ece", "gender: calibration error", "%"),
    ("calibration.age_coverage", "true age within age ± its deviation", "%"),
)
# The same of groups, whose table must fit a terminal.
_COLUMNS: tuple[tuple[str, str, Literal["%", "years"]], ...] = (
    ("gender.accuracy", "gender, %", "%"),
    ("age.mae", "age error", "years"),
    ("age.bias", "bias", "years"),
    ("age.within_5", "within 5, %", "%"),
    ("age.bracket_accuracy", "bracket, %", "%"),
)


@click.command()
@click.option("--weights", default="default", show_default=True, metavar="NAME|PATH", help="Bundled weights, or a file.")
@click.option("--data", required=True, metavar="PLACE", help="Folder, tar shards or table with the pictures, or its address.")
@click.option("--format", "data_format", type=click.Choice(FORMATS), required=True, help="How the labels are given.")
@click.option("--only", type=click.Path(path_type=Path), metavar="FOLDER", help="Only the pictures of this prepared split.")
@click.option(
    "--faces",
    type=click.Choice(["all", "found", "one"]),
    default="all",
    show_default=True,
    help="All pictures, the set's usual box standing for a face that is not found; or those with a face; or with exactly one.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N pictures, evenly spread over the data.")
@click.option("--json", "json_path", metavar="PATH|-", help="Write the metrics as JSON to a file, or with - on standard output.")
@click.option("--plots", type=click.Path(path_type=Path), metavar="DIR", help="Write plots and the worst errors there, as PNG.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Pictures in memory at once.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that look for faces.")
@click.option("--quiet", is_flag=True, help="No progress and no table: errors only.")
@verbose_option
def evaluate(
    weights: str,
    data: str,
    data_format: str,
    only: Path | None,
    faces: Literal["all", "found", "one"],
    limit: int | None,
    json_path: str | None,
    plots: Path | None,
    device: Literal["auto", "cpu", "cuda"],
    batch: int,
    workers: int,
    quiet: bool,
) -> None:
    """Measure age and gender on labelled pictures, the whole way that inference goes.

    MTCNN looks for the face in each picture, and the classifier age-gender is asked about it. Each number comes with the interval
    that holds 95 % of bootstrap resamples, and with its value by age, gender and race label.
    """
    from framehook_plugins.agegender.checkpoint import read_header
    from framehook_plugins.agegender.classifier import AgeGenderClassifier, find_weights
    from framehook_trainers import evaluate as trainers
    from framehook_trainers.reports import write_plots, write_text

    json_file = Path(json_path) if json_path not in (None, "-") else None
    if json_file is not None:
        check_writable(json_file, kind="file", option="--json")
    if plots is not None:
        check_writable(plots, option="--plots")
    read_header(find_weights(weights))  # a damaged file is told before the pictures are read
    classifier = AgeGenderClassifier(weights=weights, device=device, batch=batch)
    reading = trainers.read_selected(data, data_format=data_format, only=only, limit=limit)
    with work_meter(quiet=quiet) as tell:
        answered = trainers.evaluate(
            reading.samples, classifier=classifier, which=faces, batch=batch, workers=workers, progress=tell
        )
    for rule, first in reading.drops.firsts.items():
        click.echo(f"framehook: {reading.counts[rule]} entries left out: {rule}, such as {first}", err=True)
    for problem, names in answered.left_out.items():
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            click.echo(f"framehook: {problem}: {', '.join(names[:_NAMED])}{more}; they do not count", err=True)
    given = {
        "weights": weights,
        "data": data,
        "format": data_format,
        "selected": {"only": None if only is None else str(only), "faces": faces, "limit": limit},
        "left_out": {rule: count for rule, count in reading.counts.items() if count},
    }
    report = {**answered.report(), **given}
    text = json.dumps(report, indent=2, allow_nan=False)
    with begun():
        if json_file is not None:
            write_text(json_file, text + "\n")
        if plots is not None:
            write_plots(plots, answers=answered.answers, labels=answered.labels, crops_of=answered.crops_of)
        with _told_by_name():
            if json_path == "-":
                click.echo(text)
            elif not quiet:
                show(report)


@contextmanager
def _told_by_name() -> Iterator[None]:
    """Say of which output it is that it cannot be written; that its reader has gone is no error."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write standard output: {error.strerror or error}; make room, or name a file by --json"
        ) from error


def show(report: Mapping[str, Any]) -> None:
    """Print the metrics as tables, and the largest gap in a sentence."""
    from framehook_trainers.datasets.fairface import shown

    console = Console(soft_wrap=True, markup=False, highlight=False)
    overall = Table("", "value", "95 % of resamples", box=None, pad_edge=False)
    for name, heading, unit in _METRICS:
        low, high = _at(report, f"{name}_95") or (None, None)
        interval = f"{_number(low, unit)} to {_number(high, unit)}" if low is not None else ""
        overall.add_row(heading, f"{_number(_at(report, name), unit)} {unit}".strip(), interval)
    console.print(f"{report['images']} images")
    console.print(overall)
    for dimension in ("age", "gender", "race"):
        if groups := report["groups"][dimension]:
            table = Table(box=None, pad_edge=False)
            for heading in (f"by {dimension}", "images", *(heading for _, heading, _ in _COLUMNS)):
                table.add_column(heading, no_wrap=True)
            for group, measured in groups.items():
                table.add_row(
                    shown(group), str(measured["images"]), *(_number(_at(measured, name), unit) for name, _, unit in _COLUMNS)
                )
            console.print()
            console.print(table)
    if gap := report["groups"]["largest_gap"]:
        heading = next(heading for name, heading, _ in _METRICS if name == gap["metric"])
        ends = (
            f"{_number(gap[end]['value'], '%')} % of {gap[end]['images']} '{shown(gap[end]['group'])}'"
            for end in ("best", "worst")
        )
        console.print(f"\nlargest gap: {heading}, by {gap['dimension']}: {', '.join(ends)}")


def _at(report: Mapping[str, Any], name: str) -> Any:
    part, _, metric = name.partition(".")
    return report[part][metric]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if unit == "%" else f"{value:.2f}" if unit == "years" else f"{value:.3f}"
