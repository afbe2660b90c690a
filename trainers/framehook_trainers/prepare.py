"""Prepare the faces that the recipes train on: read, clean, find, cut, split, store and report."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from framehook import UsageError
from framehook_trainers.datasets.account import Account
from framehook_trainers.datasets.content import group_by_content
from framehook_trainers.datasets.cutting import Crops, Measured
from framehook_trainers.datasets.detection import Chosen, Examined, Reads, examine, unpack
from framehook_trainers.datasets.faces import FACTS, FORMAT, CropGeometry, read_faces, read_facts
from framehook_trainers.datasets.formats import Source, read_samples
from framehook_trainers.datasets.parts import Parts, Workers
from framehook_trainers.datasets.policies import Rule, judge_labels, rules_of
from framehook_trainers.datasets.prepare_report import render
from framehook_trainers.datasets.quality import QualityLimits
from framehook_trainers.datasets.samples import Drops, Label, Sample
from framehook_trainers.datasets.selection import Selection, WhichFaces, label_rows, select_faces
from framehook_trainers.datasets.shards import Row, SplitWriter
from framehook_trainers.datasets.splits import SPLITS, Shares, Split, assign, check_no_leak
from framehook_trainers.datasets.target import Target
from framehook_trainers.progress import Progress, silent

PART = 256
"""Pictures that are examined, and then cut, at once: what a killed run loses of each process."""
REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides which faces come out, and how."""

    policies: tuple[str, ...] = ("strict",)
    """Names of `datasets.policies.POLICIES`: all their rules apply."""
    faces: WhichFaces = "best"
    """`one` leaves out pictures with no face or several; `best` takes the one where the set's faces are, or that place itself."""
    geometry: CropGeometry = field(default_factory=CropGeometry)
    """What is cut around a face, and how much more is stored."""
    limits: QualityLimits = field(default_factory=QualityLimits)
    """The least that a face must show."""
    shares: Shares = field(default_factory=Shares)
    """How much is set aside for validation and testing."""
    seed: int = 0
    """Of the lots that decide the splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What lies in the folder."""

    folder: Path
    """Where it is."""
    counts: Mapping[str, Any]
    """By set: `read`, `dropped` by rule with `count` and `first`, `kept`, `splits` by name, `notes`."""
    is_new: bool
    """False where it was complete already."""


def prepare(
    sources: Sequence[str],
    *,
    out: Path,
    settings: Settings | None = None,
    workers: int = 1,
    resume: bool = False,
    replace: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Write the faces of labelled pictures to a folder, in splits, with a report.

    The same pictures and settings give the same bytes, whatever the number of workers, interrupted or not.

    Args:
        sources: `FORMAT:LOCATION` each, such as `utkface:/data/UTKFace` or `fairface:s3://bucket/fairface`.
        out: appears when it is complete; until then the work is in `out.part`.
        settings: what decides which faces come out; the default ones where not given.
        workers: processes that share the work.
        resume: go on with what is in `out.part`.
        replace: prepare anew, though `out` holds faces; they stay until the new ones are complete.
        progress: told how far it is.

    Raises:
        UsageError: what was asked for cannot be meant, or no face is left.
        SourceError: a picture, or a file of labels, is there and cannot be read.
        OutputError: the folder cannot be written.
    """
    settings = settings or Settings()
    parsed = [Source.parse(text) for text in dict.fromkeys(sources)]
    rules = rules_of(settings.policies)
    record = {"sources": list(map(str, parsed)), **asdict(settings)}
    target = Target(out)
    with target.at_work():
        if not target.check(record, resume=resume, replace=replace):
            return Prepared(folder=out, counts=read_facts(out)["counts"], is_new=False)
        accounts = _read(parsed, rules)
        samples = [sample for account in accounts for sample in account.candidates]
        record["pictures"] = _fingerprint(samples)
        target.begin(record, resume=resume)

        with Workers(workers) as pool:
            examined = _examine(samples, target.work, pool, partial(progress, "finding faces"))
            selection = _select(accounts, examined, rules, settings)
            seen = [one.file.digest for one in examined]
            crops = Crops(samples, selection, digests=seen, geometry=settings.geometry, folder=target.work, part=PART)
            crops.cut(pool, progress=lambda done: progress("cutting faces", done, len(selection.rows)))
        measured = crops.measure()
        is_sharp = _judge_sharpness(accounts, samples, selection, measured, settings)
        _check_not_empty(accounts, int(is_sharp.sum()))

        left = selection.where(is_sharp)
        kept = [samples[row] for row in left.rows]
        digests = [examined[row].file.digest.hex()[:16] for row in left.rows]
        groups = group_by_content(measured.hashes[is_sharp], digests)
        splits = assign(groups, kept, shares=settings.shares, seed=settings.seed)
        rows = label_rows(kept, left.faces, groups=groups, digests=digests, sharpnesses=measured.sharpness[is_sharp])
        check_no_leak(groups, splits, what="content group")
        check_no_leak(digests, splits, what="the file with SHA-256")
        _account_for(accounts, kept, splits, settings.shares)
        _write(target, crops, is_sharp, rows, splits, side=settings.geometry.stored_size)
        _describe(target, accounts, record)
        target.finish()
    return Prepared(folder=out, counts=_numbers(accounts), is_new=True)


def _read(sources: Sequence[Source], rules: Sequence[Rule]) -> list[Account]:
    """Return the sets, with the pictures that the rules on labels leave."""
    labelled: dict[str, list[Sample]] = {}
    drops: dict[str, Drops] = {}
    for source in sources:
        reading = read_samples(*source)
        name = reading.samples[0].dataset if reading.samples else source.format
        labelled.setdefault(name, []).extend(reading.samples)
        drops.setdefault(name, Drops()).update(reading.drops)
    accounts = [Account(name=name, labelled=labelled[name], drops=drops[name]) for name in labelled]
    for account in accounts:
        account.candidates, account.notes = judge_labels(rules, account.labelled, account.drops)
    _check_not_empty(accounts, sum(len(account.candidates) for account in accounts))
    return accounts


def _check_not_empty(accounts: Sequence[Account], left: int) -> None:
    if not left:
        drops = Drops()
        for account in accounts:
            drops.update(account.drops)
        worst = [(rule, count) for rule, count in drops.counts.most_common(3) if count]
        why = "; ".join(f"{rule}: {count} (first: {drops.firsts[rule]})" for rule, count in worst)
        raise UsageError(f"no picture is left of {sum(account.read for account in accounts)}: {why or 'the sets are empty'}")


def _fingerprint(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        line = f"{sample.dataset}\0{sample.name}\0{sample.label}\0{sample.published_split}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return f"{len(samples)} with SHA-256 {digest.hexdigest()[:16]}"


def _examine(samples: Sequence[Sample], folder: Path, pool: Workers, progress: Callable[[int, int], None]) -> list[Examined]:
    """Return what each picture is, and shows."""
    parts: Parts[Reads] = Parts(folder, "examined", examine)
    tasks = [[sample.read for sample in samples[i : i + PART]] for i in range(0, len(samples), PART)]
    parts.compute(tasks, pool, progress=lambda done: progress(done, len(samples)))
    return [examined for i, task in enumerate(tasks) for examined in unpack(parts.read(i, length=len(task)))]


def _select(accounts: Sequence[Account], examined: Sequence[Examined], rules: Sequence[Rule], settings: Settings) -> Selection:
    """Return the faces that are left of all sets, before they are cut."""
    parts = []
    labels: dict[bytes, dict[str, list[Label]]] = defaultdict(lambda: defaultdict(list))  # by file, and by set
    samples = [sample for account in accounts for sample in account.candidates]
    for sample, one in zip(samples, examined, strict=True):
        if not one.problem:
            labels[one.file.digest][sample.dataset].append(sample.label)
    shared = {digest: by_set for digest, by_set in labels.items() if len(by_set) > 1}
    first = 0
    for account in accounts:
        end = first + len(account.candidates)
        part = select_faces(
            account,
            examined[first:end],
            elsewhere={
                digest: [label for name, theirs in by_set.items() if name != account.name for label in theirs]
                for digest, by_set in shared.items()
            },
            rules=rules,
            faces=settings.faces,
            limits=settings.limits,
            geometry=settings.geometry,
        )
        parts.append(Selection(part.rows + first, part.faces))
        first = end
    return Selection(np.concatenate([part.rows for part in parts]), Chosen.concatenate([part.faces for part in parts]))


def _judge_sharpness(
    accounts: Sequence[Account], samples: Sequence[Sample], selection: Selection, measured: Measured, settings: Settings
) -> NDArray[np.bool_]:
    """Return which faces are sharp enough, and count the others."""
    verdict = settings.limits.judge("sharpness", measured.sharpness)
    if verdict is None:
        return np.ones(len(selection.rows), bool)
    rule, is_blurred = verdict
    by_name = {account.name: account for account in accounts}
    for account in accounts:
        account.drops.ask(rule)
    for row in selection.rows[is_blurred].tolist():
        by_name[samples[row].dataset].drops.add(rule, samples[row].name)
    return ~is_blurred


def _account_for(accounts: Sequence[Account], kept: Sequence[Sample], splits: Sequence[Split], shares: Shares) -> None:
    """Tell each account what was kept of its set, and where it went."""
    for account in accounts:
        own = [i for i, sample in enumerate(kept) if sample.dataset == account.name]
        account.kept = [kept[i] for i in own]
        account.splits.update(splits[i] for i in own)
        published = any(sample.published_split for sample in account.kept)
        asked: list[tuple[Split, float]] = [("validation", shares.validation), ("test", 0.0 if published else shares.test)]
        for split in [split for split, share in asked if share and account.splits["train"] and not account.splits[split]]:
            account.notes.append(f"so few faces of each age and gender leave none for the {split} split: ask for a larger share")


def _write(
    target: Target, crops: Crops, is_left: NDArray[np.bool_], rows: Sequence[Row], splits: Sequence[Split], *, side: int
) -> None:
    """Write the folders of the splits, in one pass over the crops."""
    split_of = np.full(len(is_left), "", dtype="<U10")
    split_of[is_left] = splits
    writers = {}
    for split in SPLITS:
        own = [row for row, where in zip(rows, splits, strict=True) if where == split]
        writers[split] = SplitWriter(target.clear(split), own, side=side)
    for places, pixels in crops:
        for split, writer in writers.items():
            writer.append(pixels[split_of[places] == split])


def _describe(target: Target, accounts: Sequence[Account], record: Mapping[str, Any]) -> None:
    """Write the facts, and, once the faces could be read back, the report."""
    versions = {name: version(name) for name in ("framehook", "numpy", "torch", "facenet-pytorch")} | {"opencv": cv2.__version__}
    facts = {"format": FORMAT, "settings": record, "counts": _numbers(accounts), "versions": versions}
    (target.part / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    faces = {split: read_faces(target.part, split=split) for split in SPLITS}
    text = render(accounts, faces, settings=record, versions=versions)
    (target.part / REPORT).write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be no text


def _numbers(accounts: Sequence[Account]) -> dict[str, Any]:
    return {account.name: account.numbers() for account in accounts}
