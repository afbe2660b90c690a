"""Measure weights the whole way that inference goes: MTCNN on the published picture, the crop, the classifier plugin."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook import Classifier, Detections, ModelError, SourceError, SourceNotFoundError, UsageError
from framehook_plugins.agegender.crop import cut, squares
from framehook_trainers.datasets.detection import Chosen, Examined, as_frame, choose_faces, decode, examine, unpack
from framehook_trainers.datasets.faces import read_table
from framehook_trainers.datasets.formats import read_samples
from framehook_trainers.datasets.parts import map_over_processes
from framehook_trainers.datasets.policies import judge_labels
from framehook_trainers.datasets.samples import CORRUPT_PICTURE, MISSING_PICTURE, Reading, Sample
from framehook_trainers.datasets.shards import LABELS
from framehook_trainers.datasets.splits import SPLITS
from framehook_trainers.metrics import Answers, Labels, measure
from framehook_trainers.progress import Progress, silent

Which: TypeAlias = Literal["all", "found", "one"]
"""The pictures that count: all, those with a face that MTCNN finds, or those with exactly one."""

_TASK = 64  # pictures that a process examines at once, at most
_SHOWN_SIZE = 112
_SHOWN_MARGIN = 0.05  # somewhat more than most networks see: a person judging an error wants the head
_SHOWN_SHIFT = 0.06


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What a classifier says of n labelled pictures, and which ones it could not be asked about."""

    samples: Sequence[Sample]
    """The n pictures that count."""
    chosen: Chosen
    """The face in each."""
    answers: Answers
    """What the classifier says of each."""
    labels: Labels
    """What the data says of each."""
    left_out: Mapping[str, Sequence[str]]
    """Pictures that cannot be read, by what is wrong: the file is corrupt, or missing."""
    faces: dict[str, int]
    """How many readable pictures have no face, one, or several."""
    seconds: float
    """Spent on all of it."""

    def report(self) -> dict[str, Any]:
        """Return the metrics and what they rest on, in values that JSON can carry."""
        return {
            **measure(self.answers, self.labels),
            "corrupt": _listed(self.left_out[CORRUPT_PICTURE]),
            "missing": _listed(self.left_out[MISSING_PICTURE]),
            "faces": self.faces,
            "seconds": round(self.seconds, 1),
        }

    def crops_of(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the faces of some pictures for a person to look at, (k, 112, 112, 3) RGB."""
        where = squares(self.chosen.boxes[rows], self.chosen.landmarks[rows], margin=_SHOWN_MARGIN, shift=_SHOWN_SHIFT)
        crops = np.zeros((len(rows), _SHOWN_SIZE, _SHOWN_SIZE, 3), np.uint8)
        for crop, row, square in zip(crops, rows.tolist(), where, strict=True):
            crop[...] = cut(decode(self.samples[row].read()), square[np.newaxis], _SHOWN_SIZE, border="white")[0]
        return crops


def evaluate(
    samples: Sequence[Sample],
    *,
    classifier: Classifier,
    which: Which = "all",
    batch: int = 64,
    workers: int = 1,
    progress: Progress = silent,
) -> Evaluation:
    """Ask the classifier about the face of each picture.

    Pictures are decoded when they are needed, at most `batch` of them in a process at once. Where no face is found, the
    classifier sees what the set's usual box holds, as in training.

    Args:
        samples: the pictures with their labels.
        classifier: adds `age`, `age_std`, `gender` and `gender_score`.
        which: the pictures that count.
        batch: pictures that are classified together.
        workers: processes that look for faces.
        progress: told how far it is.

    Raises:
        SourceError: no picture can be read.
        UsageError: no picture counts.
        ModelError: an answer is no finite number.
    """
    if not samples:
        raise UsageError("there is no picture to ask about")
    started = time.monotonic()
    examined = _examine(samples, min(batch, _TASK), workers, progress)
    readable = [(sample, seen) for sample, seen in zip(samples, examined, strict=True) if not seen.problem]
    if not readable:
        raise SourceError(f"none of {len(samples)} pictures can be read, such as '{samples[0].name}': {examined[0].problem}")
    sizes = [(seen.file.width, seen.file.height) for _, seen in readable]
    chosen = choose_faces(sizes, [seen.found for _, seen in readable], anywhere=which == "one")
    number = np.array([len(seen.found.boxes) for _, seen in readable])
    counts = {"all": number >= 0, "found": chosen.found, "one": chosen.found & (number == 1)}[which]
    if not counts.any():
        raise UsageError(f"none of {len(readable)} pictures has the faces that '{which}' asks for: measure 'all'")
    kept = [readable[row][0] for row in np.flatnonzero(counts).tolist()]
    chosen = chosen.where(counts)
    return Evaluation(
        samples=kept,
        chosen=chosen,
        answers=_answers(_classify(kept, chosen, classifier, batch, progress)),
        labels=labels_of(kept),
        left_out=_left_out(samples, examined),
        faces={"none": int((number == 0).sum()), "one": int((number == 1).sum()), "several": int((number > 1).sum())},
        seconds=time.monotonic() - started,
    )


def _left_out(samples: Sequence[Sample], examined: Sequence[Examined]) -> dict[str, list[str]]:
    """Return the names of the pictures that cannot be read, by what is wrong."""
    left_out: dict[str, list[str]] = {CORRUPT_PICTURE: [], MISSING_PICTURE: []}
    for sample, seen in zip(samples, examined, strict=True):
        if seen.problem:
            left_out[seen.problem].append(sample.name)
    return left_out


def _examine(samples: Sequence[Sample], task: int, workers: int, progress: Progress) -> list[Examined]:
    """Return what each picture is and which faces it shows."""
    tasks = [[sample.read for sample in samples[i : i + task]] for i in range(0, len(samples), task)]
    examined: list[Examined] = []
    for arrays in map_over_processes(examine, tasks, workers=workers):
        examined += unpack(arrays)
        progress("finding faces", len(examined), len(samples))
    return examined


def _classify(
    samples: Sequence[Sample], chosen: Chosen, classifier: Classifier, batch: int, progress: Progress
) -> Iterator[Detections]:
    """Yield one classified face for each picture."""
    for start in range(0, len(samples), batch):
        rows = range(start, min(start + batch, len(samples)))
        frames = [as_frame(decode(samples[row].read())) for row in rows]
        faces = [
            Detections(boxes=chosen.boxes[row : row + 1], attributes={"landmarks": chosen.landmarks[row : row + 1]})
            for row in rows
        ]
        yield from classifier.classify(frames, faces)
        progress("classifying", rows.stop, len(samples))


def _answers(classified: Iterator[Detections]) -> Answers:
    columns = Detections.concatenate([face.without_attributes("landmarks", "quality") for face in classified]).attributes
    score = columns["gender_score"].astype(np.float64)
    female = np.where(columns["gender"] == "female", score, 1 - score)
    try:
        return Answers(age=columns["age"], age_std=columns["age_std"], female=female)
    except ValueError as error:
        raise ModelError(f"the network's {error}: its training diverged, or the file is damaged") from error


def _listed(names: Sequence[str]) -> dict[str, Any]:
    return {"count": len(names), "names": list(names)}


def labels_of(samples: Sequence[Sample]) -> Labels:
    """Return the labels of some pictures."""
    ages = [(-1, -1) if s.age_low is None or s.age_high is None else (s.age_low, s.age_high) for s in samples]
    return Labels(
        ages=np.array(ages, np.int64).reshape(-1, 2),
        female=np.array([-1 if s.female is None else s.female for s in samples], np.int8),
        races=np.array([s.race for s in samples], dtype=str),
    )


def only_those_of(samples: Sequence[Sample], folder: Path) -> list[Sample]:
    """Return the pictures that the labels of a prepared split name.

    Args:
        samples: of one or several sets; names count within a set.
        folder: holds `labels.csv` with the columns `dataset` and `name`.

    Raises:
        SourceNotFoundError: there is no such table.
        UsageError: it lacks a column, names no picture of these sets, or one that is not here.
    """
    path = folder / LABELS
    if not path.is_file():
        raise SourceNotFoundError(f"no '{path}': name a split that 'framehook prepare' wrote, such as its folder 'test'")
    rows = read_table(path)
    for column in ("dataset", "name"):
        if rows and column not in rows[0]:
            raise UsageError(f"'{path}' has no column '{column}', got {', '.join(rows[0])}: prepare the faces again")
    sets = {sample.dataset for sample in samples}
    tables = [table for split in SPLITS if (table := folder.parent / split / LABELS).is_file()]
    times = Counter((row.get("dataset"), row.get("name")) for table in tables for row in read_table(table))

    own = [row for row in rows if row["dataset"] in sets]
    named = Counter((sample.dataset, sample.name) for sample in samples)
    digests = all(row.get("digest") for row in own)

    def key(dataset: str, name: str, digest: Callable[[], str]) -> tuple[str, ...]:
        """Go by the name, and by the bytes, too, where two sources of a set have pictures of one name."""
        several = max(times[dataset, name], named[dataset, name]) > 1
        return (dataset, name, digest()) if several and digests else (dataset, name)

    wanted = {key(row["dataset"], row["name"], partial(str, row.get("digest", ""))) for row in own}
    names = {tuple(each[:2]) for each in wanted}
    found: dict[tuple[str, ...], Sample] = {}  # the first of each: the data may tell of one twice
    for sample in samples:
        if (sample.dataset, sample.name) in names:
            found.setdefault(key(sample.dataset, sample.name, partial(_digest, sample)), sample)
    if missing := wanted - found.keys():
        raise UsageError(
            f"'{path}' names '{min(missing)[1]}' and {len(missing) - 1} more that the data has not: "
            "give the data that these faces were prepared from"
        )
    if not wanted:
        raise UsageError(
            f"'{path}' names no picture of {', '.join(sorted(sets))}: give the data that these faces were prepared from"
        )
    return [sample for each, sample in found.items() if each in wanted]


def _digest(sample: Sample) -> str:
    return hashlib.sha256(sample.read()).hexdigest()[:16]


def evenly(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """Return at most `limit` pictures, evenly spread, for many sets are sorted by age."""
    if limit >= len(samples):
        return list(samples)
    return [samples[row] for row in (np.arange(limit) * len(samples) // limit).tolist()]


def read_selected(location: str, *, data_format: str, only: Path | None, limit: int | None) -> Reading:
    """Return the labelled pictures to measure by; as in prepared faces, none has an age that is no age.

    Args:
        location: a folder, a tar, a table, or their address.
        data_format: of the labels, one of `FORMATS`.
        only: a prepared split, whose pictures alone count.
        limit: pictures at most.

    Raises:
        UsageError: there is none.
    """
    reading = read_samples(data_format, location)
    samples, _ = judge_labels([], reading.samples, reading.drops)
    if not samples:
        left_out = ", ".join(f"{rule}: {count}" for rule, count in reading.counts.items() if count) or "it is empty"
        raise UsageError(f"'{location}' holds no labelled picture in the format '{data_format}' ({left_out})")
    if only is not None:
        samples = only_those_of(samples, only)
    return replace(reading, samples=evenly(samples, limit or len(samples)))
