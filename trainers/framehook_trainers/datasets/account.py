"""What became of each picture of a set, in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from framehook_trainers.datasets.samples import Drops, Sample
from framehook_trainers.datasets.splits import SPLITS, Split


@dataclass(slots=True, kw_only=True)
class Account:
    """One set, from its reader to its splits."""

    name: str
    """The set."""
    labelled: Sequence[Sample]
    """The pictures with a label, before any rule."""
    drops: Drops
    """What was left out, by rule; the readers' own counts too."""
    candidates: Sequence[Sample] = ()
    """The pictures that the rules on labels leave: these are read."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, such as rules that could not be applied."""
    kept: Sequence[Sample] = ()
    """The pictures whose faces are stored."""
    splits: Counter[Split] = field(default_factory=Counter)
    """How many of them are in each split."""
    read: int = field(init=False)
    """Files and rows that were looked at."""

    def __post_init__(self) -> None:
        self.read = len(self.labelled) + len(self.drops)

    def numbers(self) -> dict[str, Any]:
        """Return the counts by name, with the first picture that each rule left out."""
        return {
            "read": self.read,
            "dropped": {rule: {"count": n, "first": self.drops.firsts.get(rule, "")} for rule, n in self.drops.counts.items()},
            "kept": len(self.kept),
            "splits": {split: self.splits[split] for split in SPLITS},
            "notes": self.notes,
        }
