"""What is wrong with a source: what its file tells before anything is decoded, and what is noted while it is."""

import struct
from pathlib import Path

from framehook.errors import SourceError, SourceNotFoundError

_GAP_SECONDS = 0.5
_HEAD_BYTES = 1024
_GIF_END_BYTES = 4096


class Damage:
    """What of a stream could not be read, and when."""

    def __init__(self) -> None:
        self.count = 0
        """Packets and frames left out."""
        self.doubtful = 0
        """Frames kept although they build on such as were left out."""
        self.untimed = 0
        """Frames that came without a time."""
        self.pages = False
        """Whether the file has more pages than the one that was read."""
        self.end: tuple[float, float] | None = None
        """Where the stream ended too soon, and where its container says that it ends; in seconds."""
        self._back = 0
        self._back_to = 0.0
        self._span = (0.0, 0.0)
        self._accounted = 0.0  # the end of what was left out
        self._gaps = 0
        self._longest_gap = (0.0, 0.0)

    def note(self, seconds: float, duration_seconds: float = 0.0) -> None:
        """Count a packet or frame as left out at this time."""
        first, last = self._span if self.count else (seconds, seconds)
        self._span = (min(first, seconds), max(last, seconds))
        self._accounted = max(self._accounted, seconds + duration_seconds)
        self.count += 1

    def note_back(self, seconds: float) -> None:
        """Count a frame whose time is less than that of the one before."""
        self._back_to = self._back_to if self._back else seconds
        self._back += 1

    def note_gap(self, start: float, end: float) -> None:
        """Count a time without frames, if it is long and nothing that was left out accounts for it."""
        start = max(start, self._accounted)
        if end - start > _GAP_SECONDS:
            self._gaps += 1
            self._longest_gap = max(self._longest_gap, (start, end), key=lambda gap: gap[1] - gap[0])

    def warnings(self) -> tuple[str, ...]:
        """Say in a line each what is missing."""
        lines = []
        if self.count:
            parts = "packet or frame" if self.count == 1 else "packets or frames"
            lines.append(f"{self.count} damaged {parts} skipped between {_seconds(self._span)}")
        if self.doubtful:
            frames = "1 frame builds" if self.doubtful == 1 else f"{self.doubtful} frames build"
            lines.append(f"{frames} on damaged ones, up to the next key frame, and may be smeared")
        if self._gaps:
            gaps = "1 gap" if self._gaps == 1 else f"{self._gaps} gaps, the longest"
            lines.append(f"no frames in {gaps} between {_seconds(self._longest_gap)}")
        if self._back:
            times = "once" if self._back == 1 else f"{self._back} times, first"
            lines.append(f"times go back {times} to {self._back_to:.2f} s: recordings were joined, or a clock was set")
        if self.untimed:
            lines.append(f"frames without a time, taken to start where the one before ends: {self.untimed}")
        if self.pages:
            lines.append("only the first of its pages was read: save each page as a picture of its own")
        if self.end:
            lines.append(f"ends at {self.end[0]:.2f} s of {self.end[1]:.2f} s: the file is cut short or damaged at its end")
        return tuple(lines)


def _seconds(span: tuple[float, float]) -> str:
    return f"{span[0]:.2f} s and {span[1]:.2f} s"


def check_readable(path: Path) -> None:
    """See that there is something to read.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceError: it is a folder, may not be read, or is empty.
    """
    if not path.exists():
        raise SourceNotFoundError(f"{path} does not exist; give a video or image file, a folder, or an address")
    if path.is_dir():
        raise SourceError(f"{path} is a folder; give a video or image file")
    if not path.is_file():
        return  # opening a pipe would wait for its writer
    try:
        path.open("rb").close()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty (0 bytes); copy or record it again")


def why_unreadable(path: Path, reason: str) -> str:
    """Say why libav knows no format for this file."""
    if not path.is_file():  # a pipe cannot be read again
        return f"{path} brings no video or image that libav can read: {reason}; give a video or image file"
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] in (b"ftyp", b"mdat", b"moov"):
        return f"{path} is an MP4 file whose index (moov) is missing or damaged, as when a recording is cut short; copy it again"
    if b"\0" not in head and head.isascii():
        return f"{path} is a text file; give a video or image file"
    if reason == "End of file":
        return f"{path} ends before its first frame; copy or record it again"
    return f"{path} is no video or image that libav can read: {reason}; give a video or image file"


def is_whole_gif(path: Path) -> bool:
    """Look for the semicolon that ends every GIF; some writers pad with zeros after it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _GIF_END_BYTES))
        return file.read().rstrip(b"\0").endswith(b";")


def has_more_pages(path: Path) -> bool:
    """Say whether a TIFF has a second page: its first directory, 12 bytes an entry, ends with the place of the next one."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] not in (b"II*\0", b"MM\0*"):
            return False
        order = "<" if head[:1] == b"I" else ">"
        file.seek(struct.unpack(f"{order}I", head[4:])[0])
        entries = file.read(2)
        if len(entries) < 2:
            return False
        file.seek(12 * struct.unpack(f"{order}H", entries)[0], 1)
        return file.read(4) not in (b"", b"\0\0\0\0")
