"""Measure weights on faces that training never saw: `python -m framehook_trainers.evaluate`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from framehook import Detections, FramehookError, UsageError
from framehook_plugins.agegender.classifier import AgeGenderClassifier
from framehook_plugins.device import Device
from framehook_trainers.datasets import fairface, utkface
from framehook_trainers.datasets.boxes import as_frame, choose_faces, decode, detect_faces
from framehook_trainers.datasets.faces import read_faces
from framehook_trainers.datasets.samples import Sample
from framehook_trainers.metrics import evaluate_predictions

_BATCH = 64


@click.command()
@click.option("--weights", default="default", show_default=True, help="Bundled weights, or a file that a recipe wrote.")
@click.option(
    "--faces", type=click.Path(path_type=Path), required=True, help="What framehook_trainers.prepare wrote: the splits."
)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the sets' tar shards.")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A JSON file for the metrics.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that look for faces.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def main(weights: str, faces: Path, data: Path, split: str, out: Path | None, workers: int, device: Device) -> None:
    """Measure age and gender as inference works: MTCNN on the published picture, the crop, the classifier plugin."""
    try:
        metrics = evaluate(AgeGenderClassifier(weights=weights, device=device), faces, data, split=split, workers=workers)
    except FramehookError as error:
        raise click.ClickException(str(error)) from error
    text = json.dumps(metrics, indent=2)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


def evaluate(
    classifier: AgeGenderClassifier, faces_folder: Path, data: Path, *, split: str, workers: int
) -> dict[str, dict[str, Any]]:
    """Return the metrics of each set's faces in this split, from the published pictures to the classifier's answers.

    Raises:
        UsageError: the split has no face, or a picture of it is not in the data.
    """
    faces = read_faces(faces_folder)
    metrics = {}
    for dataset in (utkface, fairface):
        rows = faces.rows(dataset=dataset.NAME, split=split)
        by_name = {sample.name: sample for sample in dataset.read(data)[0]}
        missing = [name for name in faces.names[rows].tolist() if name not in by_name]
        if missing or not len(rows):
            wrong = f"lacks '{missing[0]}'" if missing else f"has no face of {dataset.NAME}"
            raise UsageError(f"the {split} split of '{faces_folder}' {wrong}: prepare the faces again from '{data}'")
        samples = [by_name[name] for name in faces.names[rows].tolist()]
        answers = Detections.concatenate(_classify(classifier, samples, workers))
        metrics[f"{dataset.NAME} {split}"] = evaluate_predictions(
            answers.attributes["age"],
            answers.attributes["gender"] == "female",
            true_ages=faces.ages[rows],
            true_female=faces.female[rows],
        )
    return metrics


def _classify(classifier: AgeGenderClassifier, samples: Sequence[Sample], workers: int) -> list[Detections]:
    """Return one classified face for each picture."""
    frames = [as_frame(decode(sample.data)) for sample in samples]
    chosen = choose_faces([(frame.width, frame.height) for frame in frames], detect_faces(samples, workers=workers))
    faces = [
        Detections(boxes=box[np.newaxis], attributes={"landmarks": landmarks[np.newaxis]})
        for box, landmarks in zip(chosen.boxes, chosen.landmarks, strict=True)
    ]
    batches = [slice(i, i + _BATCH) for i in range(0, len(frames), _BATCH)]
    return [result for some in batches for result in classifier.classify(frames[some], faces[some])]


if __name__ == "__main__":
    main()
