"""The sinks `jsonl` and `json`: an object for every processed frame, as lines or as one document."""

import json
from pathlib import Path
from typing import Any

from framehook import FrameResult, StreamInfo
from framehook_plugins.sinks.files import FileSink, StreamFiles, TextFile
from framehook_plugins.sinks.values import plain, round_finite

_HEAD = '{"format": "framehook-1", "results": [\n'


class JsonLinesSink(FileSink[TextFile]):
    """Write detections.jsonl: one JSON object on each line, one line for each processed frame.

    `{"stream", "frame", "pts_seconds", "events": […], "detections": [{"track", "label", "box": [x1, y1, x2, y2], "score",
    "attributes": {…}}]}`, with all attributes, those of several values as lists. Missing numbers are null.

    Args:
        path: where it is; `{stream}` stands for the stream's name, and without it all streams go into one file.
        out: the folder that a relative path is under.
    """

    def __init__(self, *, path: str = "{stream}/detections.jsonl", out: Path = Path()) -> None:
        self._files = StreamFiles(lambda path, _: TextFile(path), path=path, out=out)

    def write(self, result: FrameResult) -> None:
        """Append a line."""
        self._files.of(result.frame.stream).write(_dumps(as_object(result)) + "\n")


class JsonSink(FileSink["_Document"]):
    """Write detections.json: one JSON document, `{"format": "framehook-1", "results": […], "streams": […]}`.

    The results are the objects of detections.jsonl; the streams say name, size and frame rate. It is written as the results come,
    and valid once it was closed, also when the run was interrupted.

    Args:
        path: where it is; `{stream}` stands for the stream's name, and without it all streams go into one file.
        out: the folder that a relative path is under.
    """

    def __init__(self, *, path: str = "{stream}/detections.json", out: Path = Path()) -> None:
        self._files = StreamFiles(lambda path, _: _Document(path), path=path, out=out)

    def open(self, stream: StreamInfo) -> None:
        """Create the file."""
        super().open(stream)
        self._files.of(stream).add_stream(stream)

    def write(self, result: FrameResult) -> None:
        """Append a result."""
        self._files.of(result.frame.stream).add_result(result)


class _Document:
    """One JSON document that is written piece by piece, each result on a line of its own."""

    def __init__(self, path: Path) -> None:
        self._file = TextFile(path)
        self._streams: list[dict[str, Any]] = []
        self._begun = False
        self._closed = False

    def add_stream(self, stream: StreamInfo) -> None:
        self._streams.append(describe(stream))

    def add_result(self, result: FrameResult) -> None:
        self._file.write((",\n" if self._begun else _HEAD) + _dumps(as_object(result)))
        self._begun = True

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._file.write(("" if self._begun else _HEAD) + f'\n], "streams": {_dumps(self._streams)}}}\n')
        finally:
            self._file.close()


def as_object(result: FrameResult) -> dict[str, Any]:
    """Return a result as the object that the JSON sinks write."""
    frame = result.frame
    return {
        "stream": frame.stream.name,
        "frame": frame.index,
        "pts_seconds": round(frame.seconds, 6),
        "events": [
            {
                "kind": event.kind,
                "seconds": round_finite(event.seconds, 6),
                "track": plain(event.track),
                "details": plain(event.details),
            }
            for event in result.events
        ],
        "detections": [
            {
                "track": detection.track,
                "label": detection.label,
                "box": [round_finite(edge, 2) for edge in detection.box],
                "score": round_finite(detection.score, 4),
                "attributes": plain(detection.attributes, exact=False),
            }
            for detection in result.detections
        ],
    }


def describe(stream: StreamInfo) -> dict[str, Any]:
    """Return what is known of a stream, in values that JSON can carry; fractions exactly, such as `30000/1001`."""
    return {
        "name": stream.name,
        "width": stream.width,
        "height": stream.height,
        "pixel_aspect": plain(stream.pixel_aspect),
        "rate": plain(stream.rate),
        "duration_seconds": plain(stream.duration_seconds),
        "frames": stream.frames,
        "live": stream.live,
        "location": stream.location,
    }


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
