"""Cleaning policies by name: each a list of rules, each rule counted.

Whatever the policy, what cannot be used is left out and counted, too: malformed names and rows, pictures without a label, missing
and corrupt pictures, ages below 0 or above 120.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from framehook import UsageError, did_you_mean
from framehook_trainers.datasets.samples import MALFORMED_NAME, OLDEST, Drops, Label, Sample

FACE_SCORE_MINIMUM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """Judges a picture by what its set says of it."""

    name: str
    """What the report calls it."""
    needs: str
    """`age`, `gender` or the name of a fact: a set that has none of it cannot be judged."""
    drops: Callable[[Sample], bool]
    """Says whether to leave it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """Judges a picture by its pixels."""

    name: str
    """What the report calls it."""
    drops: Callable[[int, int], bool]
    """Says of a width and a height whether to leave it out."""


class Content(NamedTuple):
    """What tells whether two files are the same picture with the same label."""

    digest: bytes
    """Of the file."""
    label: Label
    """What the set says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRule:
    """Judges pictures by comparing their files."""

    name: str
    """What the report calls it."""
    drops: Callable[[Sequence[Content]], list[bool]]
    """Says of each of a set's pictures whether to leave it out."""
    across: Callable[[Label, Label], bool] = lambda one, other: False
    """Says of the labels that two sets have for one file whether to leave it out of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRule:
    """Stands for what the readers do under any policy: a name without a label in it cannot be used."""

    name: str
    """What the report calls it."""


Rule: TypeAlias = LabelRule | SizeRule | ContentRule | NameRule


def _repeats(contents: Sequence[Content]) -> list[bool]:
    first = {content.digest: i for i, content in reversed(list(enumerate(contents)))}
    return [first[content.digest] != i for i, content in enumerate(contents)]


def _contradicts(contents: Sequence[Content]) -> list[bool]:
    labels: dict[bytes, set[Label]] = defaultdict(set)
    for content in contents:
        labels[content.digest].add(content.label)
    return [len(labels[content.digest]) > 1 for content in contents]


def _exclude_each_other(one: Label, other: Label) -> bool:
    """Say whether two labels cannot both be right: 25 is one of 20-29, and what is unknown agrees with all."""
    (low, high, female), (other_low, other_high, other_female) = one, other
    ages_apart = None not in (low, high, other_low, other_high) and (high < other_low or other_high < low)  # type: ignore[operator]
    return ages_apart or (None not in (female, other_female) and female != other_female)


POLICIES: Mapping[str, tuple[Rule, ...]] = {
    "strict": (
        NameRule(name=MALFORMED_NAME),
        ContentRule(name="same bytes, different labels", drops=_contradicts, across=_exclude_each_other),
        ContentRule(name="exact repeat", drops=_repeats),
    ),
    "profiler": (
        SizeRule(name="1 x 1 picture", drops=lambda width, height: width == height == 1),
        SizeRule(name="not square", drops=lambda width, height: width != height),
        LabelRule(name="age above 100", needs="age", drops=lambda sample: _low(sample) > 100),
        LabelRule(name="age below 1", needs="age", drops=lambda sample: _high(sample) < 1),
    ),
    "face-score": (
        LabelRule(name="gender unknown", needs="gender", drops=lambda sample: sample.female is None),
        LabelRule(
            name=f"face_score below {FACE_SCORE_MINIMUM}",
            needs="face_score",
            drops=lambda sample: not sample.facts.get("face_score", -math.inf) >= FACE_SCORE_MINIMUM,
        ),
        LabelRule(
            name="second_face_score present",
            needs="second_face_score",
            drops=lambda sample: math.isfinite(sample.facts.get("second_face_score", math.nan)),
        ),
        LabelRule(name="age 0 or below", needs="age", drops=lambda sample: _high(sample) <= 0),
        LabelRule(name="age 100 or above", needs="age", drops=lambda sample: _low(sample) >= 100),
    ),
}
"""A bracket of ages is judged by the end that speaks for it: `0-2` is not below 1. But none may reach beyond the range of all."""

_RANGE = LabelRule(name="age out of range", needs="age", drops=lambda sample: _low(sample) < 0 or _high(sample) > OLDEST)


def rules_of(policies: Iterable[str]) -> list[Rule]:
    """Return the rules of these policies, in order, each once.

    Raises:
        UsageError: no such policy.
    """
    rules: dict[str, Rule] = {}
    for policy in policies:
        if policy not in POLICIES:
            raise UsageError(f"no policy is named '{policy}'{did_you_mean(policy, POLICIES)} (there are: {', '.join(POLICIES)})")
        rules |= {rule.name: rule for rule in POLICIES[policy]}
    return list(rules.values())


def judge_labels(rules: Iterable[Rule], samples: Sequence[Sample], drops: Drops) -> tuple[list[Sample], list[str]]:
    """Return the samples that the rules on labels leave, and a note for each rule that the set cannot be judged by.

    Args:
        rules: of the policies; that an age must lie in 0 to 120 is added.
        samples: of one set.
        drops: counts what is left out.
    """
    kept = list(samples)
    notes = []
    for rule in [*rules, _RANGE]:
        if isinstance(rule, NameRule):
            drops.ask(rule.name)
        elif not isinstance(rule, LabelRule):
            continue
        elif any(_has(sample, rule.needs) for sample in samples):
            kept = _keep(kept, [rule.drops(sample) for sample in kept], rule.name, drops)
        elif rule is not _RANGE:
            notes.append(f"the rule '{rule.name}' was not applied: the set has no {rule.needs}")
    return kept, notes


class PictureFile(NamedTuple):
    """What the rules on pictures judge by."""

    digest: bytes
    """Of the file."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def judge_pictures(
    rules: Iterable[Rule],
    samples: Sequence[Sample],
    files: Sequence[PictureFile],
    drops: Drops,
    *,
    elsewhere: Mapping[bytes, Sequence[Label]] = MappingProxyType({}),
) -> list[bool]:
    """Say of each of a set's pictures whether the rules on sizes and contents leave it, (n,).

    Args:
        rules: of the policies.
        samples: (n,) of one set.
        files: (n,) their pictures.
        drops: counts what is left out.
        elsewhere: what other sets say of the files that they have, too, by digest.
    """
    rows = list(range(len(samples)))
    for rule in rules:
        if isinstance(rule, SizeRule):
            flags = [rule.drops(files[i].width, files[i].height) for i in rows]
        elif isinstance(rule, ContentRule):
            own = [Content(files[i].digest, samples[i].label) for i in rows]
            flags = [
                flag or any(rule.across(label, other) for other in elsewhere.get(digest, ()))
                for flag, (digest, label) in zip(rule.drops(own), own, strict=True)
            ]
        else:
            continue
        drops.ask(rule.name)
        for i in (i for i, flag in zip(rows, flags, strict=True) if flag):
            drops.add(rule.name, samples[i].name)
        rows = [i for i, flag in zip(rows, flags, strict=True) if not flag]
    kept = set(rows)
    return [i in kept for i in range(len(samples))]


def _keep(samples: Sequence[Sample], flags: Sequence[bool], rule: str, drops: Drops) -> list[Sample]:
    drops.ask(rule)
    for sample in (sample for sample, flag in zip(samples, flags, strict=True) if flag):
        drops.add(rule, sample.name)
    return [sample for sample, flag in zip(samples, flags, strict=True) if not flag]


def _has(sample: Sample, fact: str) -> bool:
    known = {"age": sample.age_low is not None, "gender": sample.female is not None}
    return known.get(fact, fact in sample.facts)


def _low(sample: Sample) -> float:
    return math.nan if sample.age_low is None else sample.age_low


def _high(sample: Sample) -> float:
    return math.nan if sample.age_high is None else sample.age_high
