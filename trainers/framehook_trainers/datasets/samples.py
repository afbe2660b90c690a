"""One labelled picture of a published set, and the cleaning that all sets need."""

import hashlib
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from framehook import SourceNotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled picture."""

    dataset: str
    """The set that it comes from."""
    name: str
    """Its path within the set."""
    data: bytes = field(repr=False)
    """The image file."""
    age_low: int
    """Years: the youngest that the label allows; equal to `age_high` where the age is exact."""
    age_high: int
    """Years."""
    female: bool
    """The label's gender."""
    published_split: Literal["train", "test", ""] = ""
    """Where those who published the set put it; empty where they leave that to us."""


def read_tars(folder: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file in the tar shards that match, in order.

    Raises:
        SourceNotFoundError: no shard matches.
    """
    shards = sorted(folder.glob(pattern))
    if not shards:
        raise SourceNotFoundError(f"no '{pattern}' in '{folder}'; name the folder that holds the tar shards")
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                stream = archive.extractfile(member)
                if stream is not None:
                    yield member.name, stream.read()


def without_repeats(samples: Iterable[Sample], counts: Counter[str]) -> list[Sample]:
    """Keep one of each picture, and none of a picture that has been given different labels.

    Args:
        samples: pictures in any order.
        counts: gains `repeated` and `contradictory`, the numbers of files left out.
    """
    by_content: dict[bytes, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_content[hashlib.sha256(sample.data).digest()].append(sample)
    kept = []
    for same in by_content.values():
        if len({(s.age_low, s.age_high, s.female) for s in same}) > 1:
            counts["contradictory"] += len(same)
        else:
            counts["repeated"] += len(same) - 1
            kept.append(same[0])
    return kept
