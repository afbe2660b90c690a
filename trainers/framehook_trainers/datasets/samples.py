"""One labelled picture of a set, what a reader returns of a whole set, and the count of what was left out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

OLDEST = 120
"""Years: above it, and below 0, an age is no age."""

MALFORMED_NAME = "malformed name"
MALFORMED_ROW = "malformed row"
REPEATED_ROW = "repeated row"
CONTRADICTING_ROW = "rows with different labels for one file"
WITHOUT_LABEL = "without a label"
MISSING_PICTURE = "missing picture"
CORRUPT_PICTURE = "corrupt picture"

Label: TypeAlias = tuple[int | None, int | None, bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled picture; its bytes are read when they are asked for."""

    dataset: str
    """The set that it comes from."""
    name: str
    """Its path within the set."""
    read: Callable[[], bytes] = field(repr=False, compare=False)
    """Returns the image file; it can be pickled, for other processes read too."""
    age_low: int | None
    """Years: the youngest that the label allows; equal to `age_high` where the age is exact; None where it is unknown."""
    age_high: int | None
    """Years."""
    female: bool | None
    """The label's gender; None where it is unknown."""
    race: str = ""
    """The label's race, in the set's own words."""
    published_split: Literal["train", "test", ""] = ""
    """Where those who published the set put it; empty where they leave that to us."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What else the set says of the picture, such as `face_score`: cleaning policies judge by it."""

    @property
    def label(self) -> Label:
        """What must agree where the same picture comes twice."""
        return self.age_low, self.age_high, self.female


@dataclass(slots=True)
class Drops:
    """What was left out, by the rule that asked for it."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many, by rule."""
    firsts: dict[str, str] = field(default_factory=dict)
    """The first one, by rule that left out any: the file, or file and row, and what was wrong."""

    def add(self, rule: str, first: str) -> None:
        """Count one."""
        self.counts[rule] += 1
        self.firsts.setdefault(rule, first)

    def ask(self, rule: str) -> None:
        """Note that a rule was applied, though it may leave out nothing."""
        self.counts.setdefault(rule, 0)

    def update(self, other: "Drops") -> None:
        """Count what another part of the set left out."""
        self.counts.update(other.counts)
        self.firsts = {**other.firsts, **self.firsts}

    def __len__(self) -> int:
        return self.counts.total()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of a set."""

    samples: Sequence[Sample]
    """The pictures with a label, in the set's order."""
    drops: Drops
    """What has no label that can be read."""

    @property
    def counts(self) -> Counter[str]:
        """How many were left out, by rule."""
        return self.drops.counts
