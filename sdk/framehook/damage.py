"""What is wrong with a source: what its file tells before anything is decoded, and what is noted while it is."""

from pathlib import Path

from framehook.errors import SourceError, SourceNotFoundError

_GIF_END_BYTES = 4096


class Damage:
    """What of a stream could not be read, and when."""

    def __init__(self) -> None:
        self.count = 0
        """Packets and frames left out."""
        self.untimed = 0
        """Frames that came without a time."""
        self.end: tuple[float, float] | None = None
        """Where the stream ended too soon, and where its container says that it ends; in seconds."""
        self._span = (0.0, 0.0)

    def note(self, seconds: float) -> None:
        """Count a packet or frame as left out at this time."""
        first, last = self._span if self.count else (seconds, seconds)
        self._span = (min(first, seconds), max(last, seconds))
        self.count += 1

    def warnings(self) -> tuple[str, ...]:
        """Say in a line each what is missing."""
        lines = []
        if self.count:
            parts = "packet or frame" if self.count == 1 else "packets or frames"
            lines.append(f"{self.count} damaged {parts} skipped between {self._span[0]:.2f} s and {self._span[1]:.2f} s")
        if self.untimed:
            lines.append(f"{self.untimed} frames carry no time: each was taken to start where the one before it ends")
        if self.end:
            lines.append(f"ends at {self.end[0]:.2f} s of {self.end[1]:.2f} s: the file is cut short or damaged at its end")
        return tuple(lines)


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
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:] in (b"ftyp", b"mdat", b"moov"):
        return f"{path} is an MP4 file whose index (moov) is missing or damaged, as when a recording is cut short; copy it again"
    return f"{path} is no video or image that libav can read: {reason}; give a video or image file"


def is_whole_gif(path: Path) -> bool:
    """Look for the semicolon that ends every GIF; some writers pad with zeros after it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _GIF_END_BYTES))
        return file.read().rstrip(b"\0").endswith(b";")
