"""`framehook prepare`: labelled pictures in, faces to train on out."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from framehook_cli.outputs import verbosity, work_meter

_SIZES = ("64", "112", "150", "180", "198", "224")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="FORMAT:LOCATION...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the faces; it appears when complete.")
@click.option(
    "--policy", "policies", multiple=True, metavar="NAME", help="profiler, face-score, strict; repeatable.  [default: strict]"
)
@click.option(
    "--faces",
    type=click.Choice(["best", "one"]),
    default="best",
    show_default=True,
    help="best: the face where the set's faces are, or that place; one: pictures with exactly one face.",
)
@click.option("--size", type=click.Choice(_SIZES), default="112", show_default=True, help="Pixels of a crop's sides.")
@click.option(
    "--context",
    type=click.IntRange(0),
    metavar="PIXELS",
    help="More of the sides to store, for augmentation.  [default: a seventh]",
)
@click.option("--margin", type=float, metavar="X", help="A crop's side is the box's times (1 + X).  [default: -0.12]")
@click.option("--shift", type=float, metavar="X", help="How far it lies below the box, in the box's sides.  [default: 0.12]")
@click.option(
    "--border", type=click.Choice(["edge", "white"]), default="edge", show_default=True, help="What lies beyond the picture."
)
@click.option("--min-size", type=float, metavar="PX", help="Leave out faces of fewer pixels.")
@click.option("--min-sharpness", type=float, metavar="X", help="Leave out faces whose Laplacian has a smaller variance.")
@click.option("--min-score", type=float, metavar="X", help="Leave out faces that the detector gives a lower score.")
@click.option("--test-share", type=float, metavar="X", help="Of sets without a split of their own.  [default: 0.1]")
@click.option("--validation-share", type=float, metavar="X", help="Of what is no published test picture.  [default: 0.05]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the lots that decide the splits.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that share the work.  [default: all cores]")
@click.option("--resume", is_flag=True, help="Go on with what was interrupted.")
@click.option("--replace", is_flag=True, help="Prepare anew what --out holds; it stays until the new faces are complete.")
@verbosity
def prepare(
    sources: tuple[str, ...],
    out: Path,
    policies: tuple[str, ...],
    faces: Literal["best", "one"],
    size: str,
    context: int | None,
    border: Literal["edge", "white"],
    seed: int,
    workers: int | None,
    resume: bool,
    replace: bool,
    quiet: bool,
    as_json: bool,
    **given: float | None,
) -> None:
    """Make faces to train on out of labelled pictures.

    The pictures are cleaned, their faces found and cut out, split and stored, and a report says what became of them.

    FORMAT is utkface, fairface, imdb-wiki or table. LOCATION is a folder, a tar archive, a csv or a .mat file, or the URL of one:
    utkface:/data/UTKFace, fairface:s3://bucket/fairface, imdb-wiki:/data/wiki.mat, table:people.csv.

    In --out lie train, validation and test, with faces-00000.npy and labels.csv in each, faces.json, and report.html to look at.
    """
    from framehook_trainers import prepare as trainers  # brings torch
    from framehook_trainers.datasets.faces import CropGeometry, usual_context
    from framehook_trainers.datasets.quality import QualityLimits
    from framehook_trainers.datasets.splits import Shares

    stored = int(size) + (usual_context(int(size)) if context is None else context)
    settings = trainers.Settings(
        policies=policies or ("strict",),
        faces=faces,
        geometry=CropGeometry(size=int(size), stored_size=stored, border=border, **_some(given, "margin", "shift")),
        limits=QualityLimits(**_some(given, "min_size", "min_sharpness", "min_score")),
        shares=Shares(**_some(given, "test_share", "validation_share")),
        seed=seed,
    )
    with work_meter(quiet=quiet) as show:
        prepared = trainers.prepare(
            sources,
            out=out,
            settings=settings,
            workers=workers or os.cpu_count() or 1,
            resume=resume,
            replace=replace,
            progress=show,
        )
    if as_json:
        click.echo(json.dumps(prepared.counts, indent=2))
    elif not quiet:
        for name, counts in prepared.counts.items():
            _tell(name, counts)
        click.echo(f"{'prepared' if prepared.is_new else 'complete already'}: look at {out / trainers.REPORT}")


def _some(given: Mapping[str, float | None], *names: str) -> dict[str, Any]:
    """Return those of some options that were given."""
    return {name.removesuffix("_share"): given[name] for name in names if given[name] is not None}


def _tell(name: str, counts: Mapping[str, Any]) -> None:
    """Print what became of one set."""
    splits = ", ".join(f"{split} {number}" for split, number in counts["splits"].items())
    click.echo(f"{name}: {counts['read']} read, {counts['kept']} kept ({splits})")
    for rule, dropped in counts["dropped"].items():
        first = f", the first: {dropped['first']}" if dropped["count"] else ""
        click.echo(f"  {rule}: {dropped['count']} left out{first}")
    for note in counts["notes"]:
        click.echo(f"  {note}")
