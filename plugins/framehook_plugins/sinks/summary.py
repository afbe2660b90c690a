"""The sink `summary`: how the run of a stream went."""

import json
import logging
import platform
import sys
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from framehook import FrameResult, StreamInfo, StreamStatistics
from framehook_plugins.sinks.detections_json import describe
from framehook_plugins.sinks.files import FileSink, StreamFiles, output_errors
from framehook_plugins.sinks.folders import files_begun_in
from framehook_plugins.sinks.values import plain
from framehook_plugins.whole import part_of, whole_file

log = logging.getLogger("framehook")

_PACKAGES = ("numpy", "av", "cv2", "torch", "openvino", "onnxruntime")


class SummarySink(FileSink["_SummaryFile"]):
    """Write summary.json when a stream has ended: what it was, counts and times, versions and options.

    Its `complete` is true where the stream was analysed to its end, without an error and without losing a sink. The summary of
    an earlier run is removed when the stream begins, and the new one appears whole, so one that is there and complete vouches for
    the files beside it. Where a sink fails later, as it is closed, that is taken back.

    Args:
        path: where it is; `{stream}` stands for the stream's name.
        out: the folder that a relative path is under.
        settings: the options of the run, to be written with it.
    """

    def __init__(
        self, *, path: str = "{stream}/summary.json", out: Path = Path(), settings: dict[str, Any] | None = None
    ) -> None:
        self._files = StreamFiles(_SummaryFile, path=path, out=out, shareable=False)
        self._settings = settings or {}

    def write(self, result: FrameResult) -> None:
        """Do nothing: the statistics come when the stream has ended."""

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Write the summary."""
        file = self._files.of(stream)
        content = summarise(stream, statistics, self._settings, recording=file.recording)
        file.write({**content, "files": file.begun_beside() if self._files.in_own_folder else None})
        super().end(stream, statistics)

    def amend(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Take back that the stream is complete."""
        path = self._files.path(stream)
        with output_errors(path):
            content = json.loads(path.read_text(encoding="utf-8"))
        content["complete"] = False
        content["statistics"]["lost_sinks"] = list(statistics.lost_sinks)
        _write(path, content)


class _SummaryFile:
    """A file that is there only when it is whole."""

    def __init__(self, path: Path, stream: StreamInfo) -> None:
        self.recording = describe_file(stream.location)  # as it was before it was read: it may still be growing
        self._earlier: list[str] = (_read(path) or {}).get("files") or []
        self._path = path
        self._part = part_of(path)
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._part.touch()  # a place that cannot be written is told now, not after hours of work

    def begun_beside(self) -> list[str]:
        """Return the names of the files beside it that the other sinks wrote, and tell of those of an earlier run."""
        folder = self._path.parent
        begun = [name for name in files_begun_in(folder) if name != self._path.name]
        for name in sorted(set(self._earlier) - set(begun)):
            if (folder / name).exists():
                log.warning("'%s' is of an earlier run, and does not go with the new results", folder / name)
        return begun

    def write(self, content: Mapping[str, Any]) -> None:
        _write(self._path, content)

    def close(self) -> None:
        with output_errors(self._path):
            self._part.unlink(missing_ok=True)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with output_errors(path):
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2)
        with whole_file(path) as part:
            part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace", newline="\n")


def describe_file(location: str | None) -> dict[str, Any] | None:
    """Return what tells a recording from another one that takes its place; None where the location is no file."""
    path = Path(location or "")
    try:
        facts = path.stat() if path.is_file() else None
    except (OSError, ValueError):  # an address may be no path at all
        facts = None
    if facts is None:
        return None
    return {"bytes": facts.st_size, "modified": datetime.fromtimestamp(facts.st_mtime, UTC).isoformat(timespec="microseconds")}


def summarise(
    stream: StreamInfo, statistics: StreamStatistics, settings: Mapping[str, Any], *, recording: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the content of summary.json."""
    counts = {field.name: getattr(statistics, field.name) for field in fields(statistics) if field.name != "stream"}
    return {
        "complete": not (statistics.interrupted or statistics.error or statistics.lost_sinks),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "stream": describe(stream),
        "file": recording,
        "statistics": plain(counts, exact=False),
        "options": plain(settings),
        "versions": _versions(),
    }


def read_complete(path: Path) -> dict[str, Any] | None:
    """Return the content of the summary.json at this path, or None where there is none of a stream analysed to its end."""
    content = _read(path)
    return content if content is not None and content.get("complete") is True else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _versions() -> dict[str, str]:
    """Return the versions of what took part; what was not imported did not."""
    versions = {"framehook": _framehook_version(), "python": platform.python_version()}
    for package in _PACKAGES:
        version = getattr(sys.modules.get(package), "__version__", None)
        if version is not None:
            versions[package] = str(version)
    return {**versions, "platform": platform.platform()}


def _framehook_version() -> str:
    try:
        return metadata.version("framehook")
    except metadata.PackageNotFoundError:  # copied into another program, without its metadata
        return "unknown"
