"""The sink `tracks`: a row for every track."""

from contextlib import ExitStack
from pathlib import Path

from framehook import FrameResult, StreamInfo, StreamStatistics, TrackLog, TrackSummary
from framehook_plugins.sinks.files import FileSink, StreamFiles
from framehook_plugins.sinks.table import Table
from framehook_plugins.sinks.values import words

_COLUMNS = ("stream", "track", "label", "first_seconds", "last_seconds", "frames")


class TracksSink(FileSink[Table]):
    """Write tracks.csv: one row for each track, with what is known of it in the end.

    The columns are `stream,track,label,first_seconds,last_seconds,frames`, and then the attributes of one value, as in
    detections.csv. A track is written when it was not seen for ten minutes, or when the stream ends.

    Args:
        path: where it is; `{stream}` stands for the stream's name, and without it all streams go into one file.
        out: the folder that a relative path is under.
    """

    def __init__(self, *, path: str = "{stream}/tracks.csv", out: Path = Path()) -> None:
        self._files = StreamFiles(lambda path, _: Table(path, _COLUMNS), path=path, out=out)
        self._logs: dict[str, tuple[StreamInfo, TrackLog]] = {}

    def open(self, stream: StreamInfo) -> None:
        """Create the file."""
        super().open(stream)
        self._logs[stream.name] = (stream, TrackLog())

    def write(self, result: FrameResult) -> None:
        """Take in one result, and write the tracks that are finished."""
        stream = result.frame.stream
        table = self._files.of(stream)
        table.settle(result.detections)
        _, log = self._logs[stream.name]
        table.add(map(_row, log.update(result)))

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Write the tracks that are left, and finish the stream's file."""
        _, log = self._logs.pop(stream.name)
        try:
            self._finish(stream, log)
        finally:
            super().end(stream, statistics)

    def close(self) -> None:
        """Write what is left of all streams, and finish all files."""
        with ExitStack() as stack:
            stack.callback(super().close)
            for stream, log in self._logs.values():
                stack.callback(self._finish, stream, log)
            self._logs = {}

    def _finish(self, stream: StreamInfo, log: TrackLog) -> None:
        self._files.of(stream).add(map(_row, log.finish()))


def _row(track: TrackSummary) -> tuple[list[str], dict[str, object]]:
    fixed = [
        words(track.stream),
        str(track.track),
        words(track.label),
        f"{track.first_seconds:.6f}",
        f"{track.last_seconds:.6f}",
        str(track.frames),
    ]
    return fixed, dict(track.attributes)
