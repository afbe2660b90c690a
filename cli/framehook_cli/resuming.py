"""`framehook analyze --resume`: which sources are left, and whether what is there belongs to this run."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from framehook import SourceSpec, UsageError
from framehook_plugins.sinks.summary import describe_file, read_complete
from framehook_plugins.sinks.values import plain

log = logging.getLogger("framehook")

# Where and how it runs, not what it looks for.
_MAY_CHANGE = ("out", "device", "batch", "decode_threads", "reconnect", "on_error")


def left_over(
    specs: Iterable[SourceSpec], *, out: Path, settings: Mapping[str, Any], shared_files: Iterable[str]
) -> list[SourceSpec]:
    """Return the sources whose results are not complete yet, or are of a recording that has changed since.

    Args:
        specs: all sources of the run.
        out: the folder of their results.
        settings: the run's.
        shared_files: paths that all sources write into.

    Raises:
        UsageError: what is there came from another source or other settings, or analysing the rest would overwrite it.
    """
    left, complete = [], 0
    for spec in specs:
        folder = out / spec.name
        summary = read_complete(folder / "summary.json")
        if summary is None:
            left.append(spec)
            continue
        _check_source(folder, summary, spec)
        if (summary.get("stream") or {}).get("live"):
            raise UsageError(
                f"'{folder}' holds the results of a live stream, which --resume cannot go on with: choose another --out, "
                "or leave out --resume to overwrite them"
            )
        _check_settings(folder, summary, settings)
        if summary.get("file") not in (None, describe_file(spec.location)):
            log.warning("%s has changed since it was analysed: it is analysed again", spec.location)
            left.append(spec)
            continue
        if missing := [name for name in summary.get("files") or () if not (folder / name).exists()]:
            log.warning("'%s' is no longer there: %s is analysed again", folder / missing[0], spec.name)
            left.append(spec)
            continue
        complete += 1
    if left and complete:
        for path in shared_files:
            raise UsageError(
                f"--resume would write '{path}' anew, without the sources that are complete; put {{stream}} into its path, or "
                "leave out --resume to analyse all of them"
            )
    return left


def _check_source(folder: Path, summary: Mapping[str, Any], spec: SourceSpec) -> None:
    there = (summary.get("stream") or {}).get("location")
    if spec.location not in (None, there) and not _is_same_file(
        spec.location, there
    ):  # None: of pictures and plugins' addresses it is not known before they are opened
        raise UsageError(
            f"'{folder}' holds the results of {there or 'another source'}, not of {spec.location}: choose another --out, or "
            "leave out --resume to overwrite them"
        )


def _is_same_file(location: str | None, there: str | None) -> bool:
    """Say whether two paths, which may lead through links or `..`, name one file."""
    try:
        return bool(location and there) and Path(location or "").samefile(there or "")
    except (OSError, ValueError):  # one is not there, or is an address
        return False


def _check_settings(folder: Path, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    before = summary.get("options") or {}
    for name, now in plain(settings).items():
        if name not in _MAY_CHANGE and now != before.get(name):
            raise UsageError(
                f"'{folder}' was made with {name} {json.dumps(before.get(name))}, not {json.dumps(now)}: choose another --out, "
                "or leave out --resume to overwrite it"
            )
