"""Prepare the faces that the recipes train on: `python -m framehook_trainers.prepare --data DIR --out DIR`."""

import time
from collections import Counter
from pathlib import Path

import click

from framehook import FramehookError
from framehook_trainers.datasets import fairface, utkface
from framehook_trainers.datasets.boxes import Chosen, choose_faces, decode, detect_faces
from framehook_trainers.datasets.faces import CropGeometry, write_faces

_DEFAULT = CropGeometry()


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the sets' tar shards.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write the faces to.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that look for faces.")
@click.option("--margin", type=float, default=_DEFAULT.margin, show_default=True, help="Of the crop around a face.")
@click.option("--shift", type=float, default=_DEFAULT.shift, show_default=True, help="Of the crop below a face.")
def main(data: Path, out: Path, workers: int, margin: float, shift: float) -> None:
    """Clean UTKFace and FairFace, find the face of each picture with MTCNN, cut it out, and split by content."""
    try:
        prepare(data, out, workers=workers, geometry=CropGeometry(margin=margin, shift=shift))
    except FramehookError as error:
        raise click.ClickException(str(error)) from error


def prepare(data: Path, out: Path, *, workers: int, geometry: CropGeometry) -> None:
    """Write the faces of both sets to the folder `out`.

    Args:
        data: the folder with the tar shards.
        out: made where it is not there.
        workers: processes that look for faces.
        geometry: what to cut around a box.
    """
    samples, chosen = [], []
    facts: dict[str, Counter[str]] = {}
    for dataset in (utkface, fairface):
        started = time.monotonic()
        clean, counts = dataset.read(data)
        sizes = [decode(sample.data).shape[1::-1] for sample in clean]
        faces = choose_faces(sizes, detect_faces(clean, workers=workers, progress=_Progress(dataset.NAME, len(clean))))
        counts["without a face"] = int((~faces.found).sum())
        click.echo(f"{dataset.NAME}: {dict(counts)} in {time.monotonic() - started:.0f} s")
        samples += clean
        chosen.append(faces)
        facts[dataset.NAME] = counts
    write_faces(out, samples, Chosen.concatenate(chosen), geometry=geometry, facts={"counts": facts})
    click.echo(f"{len(samples)} faces written to '{out}'")


class _Progress:
    """Say every few seconds how far it is."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._said = time.monotonic()

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._said > 10:
            click.echo(f"{self._what}: {done} of {self._total}")
            self._said = time.monotonic()


if __name__ == "__main__":
    main()
