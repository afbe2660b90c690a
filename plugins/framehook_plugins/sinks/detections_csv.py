"""The sink `csv`: a row for every detection."""

from pathlib import Path

from framehook import Detection, Frame, FrameResult
from framehook_plugins.sinks.files import FileSink, StreamFiles
from framehook_plugins.sinks.table import Table
from framehook_plugins.sinks.values import fixed_point, words

_COLUMNS = ("stream", "frame", "pts_seconds", "track", "label", "x1", "y1", "x2", "y2", "score")


class CsvSink(FileSink[Table]):
    """Write detections.csv: one row for each detection, for pandas and spreadsheets.

    The columns are `stream,frame,pts_seconds,track,label,x1,y1,x2,y2,score`, and then the attributes of one value. Those of the
    first result with a detection make the header, which is not written before; one that comes later is left out, with a warning.
    Missing values are empty. Boxes have 2 decimals, scores 4, attributes five significant digits. A text that a spreadsheet would
    run as a formula is given an apostrophe before it.

    Args:
        path: where it is; `{stream}` stands for the stream's name, and without it all streams go into one file.
        out: the folder that a relative path is under.
    """

    def __init__(self, *, path: str = "{stream}/detections.csv", out: Path = Path()) -> None:
        self._files = StreamFiles(lambda path, _: Table(path, _COLUMNS), path=path, out=out)

    def write(self, result: FrameResult) -> None:
        """Append a row for each detection."""
        table = self._files.of(result.frame.stream)
        table.settle(result.detections)
        table.add((_cells(result.frame, detection), detection.attributes) for detection in result.detections)


def _cells(frame: Frame, detection: Detection) -> list[str]:
    return [
        words(frame.stream.name),
        str(frame.index),
        f"{frame.seconds:.6f}",
        str(detection.track),
        words(detection.label),
        *(fixed_point(edge, 2) for edge in detection.box),
        fixed_point(detection.score, 4),
    ]
