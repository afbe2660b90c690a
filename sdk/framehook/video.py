"""Decoding and encoding: the only file that imports av.

Times are the container's own: `pts` and `time_base` come from it, exact for variable frame rates. A frame without a presentation
time gets its decoding time; without that, the end of the frame before it; `VideoSource.warnings` then says so.

Pixels are upright: the rotation and mirroring that a container or an EXIF tag asks for are applied. They are the coded pixels:
where these are not square (a sample aspect ratio other than 1) the picture is not stretched. Transparency is dropped.
"""

import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from framehook.errors import SourceError, SourceNotFoundError, UsageError
from framehook.frame import Frame, Image, StreamInfo

av.logging.set_level(None)  # libav's own messages would land on stderr, also from its threads

_TRIES = 100  # read errors in a row after which a file is given up
_HD_LINES = 720
_BT709, _UNSPECIFIED = 1, 2  # AVColorSpace
_STILL_FORMATS = ("image2", "_pipe")


class _Rational(Protocol):
    """PyAV's rationals: Fraction up to version 18, a type of its own after."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


class _Orientation(NamedTuple):
    """How the coded picture is turned upright: first transposed, then mirrored."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Read the display matrix: x' = a x + c y, y' = b x + d y, of which we take the nearest quarter turn."""
        try:
            matrix = frame.side_data["DISPLAYMATRIX"] if "DISPLAYMATRIX" in frame.side_data else None
        except ValueError:  # PyAV does not know a kind of side data that stands beside it, such as EXIF
            return cls._turned(frame.rotation)
        if matrix is None:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix.__bytes__())
        if abs(a) >= abs(b):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def _turned(cls, degrees: int) -> Self:
        """Return the orientation for a turn against the clock."""
        quarters = round(degrees / 90) % 4
        return cls(quarters in (1, 3), quarters in (2, 3), quarters in (1, 2))

    def upright(self, image: Image) -> Image:
        if self.transpose:
            image = image.transpose(1, 0, 2)
        return np.ascontiguousarray(image[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1])


class _Converter:
    """Turns the decoded frames of one stream into upright RGB, from any thread.

    Args:
        width: pixels of the upright picture; frames of another size (a stream may change it) are scaled to it.
        height: pixels of the upright picture.
    """

    def __init__(self, orientation: _Orientation, width: int, height: int) -> None:
        self._orientation = orientation
        self.size = (width, height)
        # One converter keeps its tables for one pair of sizes: full frames and scaled ones take turns.
        self._converters = {True: VideoReformatter(), False: VideoReformatter()}
        self._lock = threading.Lock()

    def convert(self, frame: av.VideoFrame, size: tuple[int, int]) -> Image:
        width, height = size[::-1] if self._orientation.transpose else size
        shrinks = width < frame.width or height < frame.height
        with self._lock:  # PyAV alters the frame while it converts
            rgb = self._converters[size == self.size].reformat(
                frame,
                width,
                height,
                "rgb24",
                interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
                threads=1,
            )
        return self._orientation.upright(np.asarray(rgb.to_ndarray(), dtype=np.uint8))


class DecodedPicture:
    """The decoder's own pixels, converted when asked for."""

    __slots__ = ("_converter", "_frame")

    def __init__(self, frame: av.VideoFrame, converter: _Converter) -> None:
        self._frame = frame
        self._converter = converter

    def rgb(self) -> Image:
        """Convert to (height, width, 3) RGB, upright."""
        return self._converter.convert(self._frame, self._converter.size)

    def scaled(self, width: int, height: int) -> Image:
        """Convert and scale in one pass to (height, width, 3) RGB, upright; shrinking averages areas."""
        return self._converter.convert(self._frame, (width, height))


class VideoSource:
    """A video file, an image, a network stream or a camera. It is read once, from start to end.

    Damaged packets, and frames that the decoder could only patch up, are left out and counted; what can be read is delivered.
    `close` may be called from another thread: it waits for the packet that is being read, for `timeout_seconds` at most.

    Args:
        location: a path, a URL, or a device such as `/dev/video0`.
        name: the stream's name.
        live: frames come whether or not we are ready; decodes without delay, and an interruption is an error.
        start_seconds: presentation time of the first frame to deliver, rounded to the container's unit of time. Frame indices
            count from the stream's first frame also then: the file is read, but not decoded, up to there.
        end_seconds: presentation time before which to stop.
        threads: with more than one, frames are decoded ahead of time. That is faster for a single large stream, but next to
            damage up to that many good frames are lost.
        device_format: libav's name for the camera driver: `v4l2`, `avfoundation`, `dshow`.
        timeout_seconds: how long to wait for a network or a camera.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceError: it cannot be opened, holds no video, or no frame of it can be decoded.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        name: str,
        live: bool = False,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
        threads: int = 1,
        device_format: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        if live and start_seconds > 0:
            raise UsageError(f"{location} is live and cannot start at {start_seconds:g} s; leave the start out")
        self._location = str(location)
        self._is_file = device_format is None and "://" not in self._location
        self._live = live
        self._threads = threads
        self._device_format = device_format
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._closed = False
        self._damage = _Damage()
        self._container, self._stream = self._open()
        try:
            self._time_base = _fraction(self._stream.time_base) or Fraction(1, 1000)
            self._start = self._ticks(start_seconds) if start_seconds > 0 else None
            self._end = None if end_seconds is None else self._ticks(end_seconds)
            first_index = 0 if self._start is None else self._seek(self._start)
            frames = self._decode()
            first = next(frames, None)
            if first is None:
                raise SourceError(self._why_no_frame())
            self._info, converter = self._describe(name, first[0])
        except BaseException:
            self.close()
            raise
        self._frames = self._deliver(chain([first], frames), first_index, converter)

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""
        return self._info

    @property
    def damaged(self) -> int:
        """Packets and frames left out so far because they were damaged."""
        return self._damage.count

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was skipped so far, and where the file ended too soon."""
        return self._damage.warnings()

    def __iter__(self) -> Iterator[Frame]:
        """Go through the frames; a second loop goes on where the first one stopped."""
        return self._frames

    def close(self) -> None:
        """Let go of the file or device; a second call is harmless."""
        with self._lock:
            self._closed = True
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open(self) -> tuple[InputContainer, VideoStream]:
        if self._is_file:
            _check_file(Path(self._location))
        options = {"pattern_type": "none"}  # a file name with a % in it is no sequence of images
        if self._location.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # over UDP, libav loses packets of large frames
        try:
            container = av.open(
                f"file:{self._location}" if self._is_file else self._location,  # a colon in a file name is no protocol
                format=self._device_format,
                options=options,
                metadata_errors="replace",
                timeout=None if self._is_file else self._timeout_seconds,
            )
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(self._why_not_opened(error)) from error
        try:
            stream = self._choose(container)
        except SourceError:
            container.close()
            raise
        stream.codec_context.thread_count = 1 if self._live else self._threads
        stream.codec_context.thread_type = "SLICE" if self._live or self._threads == 1 else "AUTO"
        return container, stream

    def _choose(self, container: InputContainer) -> VideoStream:
        """Return what libav holds for the best video stream; covers of songs are none."""
        videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not videos or container.format.name == "tty":  # libav would draw any text file as a terminal
            kinds = sorted({stream.type for stream in container.streams if stream not in videos})
            held = "text" if container.format.name == "tty" else f"only {' and '.join(kinds)}" if kinds else "nothing"
            raise SourceError(f"{self._location} has no video in it: it holds {held}; give a video or image file")
        best = container.streams.best("video")
        stream = best if best in videos else videos[0]
        if stream.codec_context is None:
            raise SourceError(f"{self._location} holds video of a kind that this libav cannot decode; convert it to H.264")
        return stream

    def _ticks(self, seconds: float) -> int:
        return round(Fraction(seconds) / self._time_base)

    def _seek(self, start: int) -> int:
        """Go to the key frame before `start`, and return how many frames of the stream lie before `start`."""
        before = 0
        for packet in self._packets():
            if packet.dts is not None and packet.dts >= start:  # and so are all that follow, pts being no less than dts
                break
            before += packet.size > 0 and packet.pts is not None and packet.pts < start and not packet.is_discard
        try:
            self._container.seek(start, stream=self._stream)
        except av.FFmpegError:  # it cannot be searched: decode it from the beginning
            self._container.close()
            self._container, self._stream = self._open()
        return before

    def _describe(self, name: str, frame: av.VideoFrame) -> tuple[StreamInfo, _Converter]:
        orientation = _Orientation.of(frame)
        width, height = (frame.height, frame.width) if orientation.transpose else (frame.width, frame.height)
        stream = self._stream
        still = self._container.format.name.endswith(_STILL_FORMATS)
        info = StreamInfo(
            name=name,
            width=width,
            height=height,
            rate=None if still else _fraction(stream.average_rate) or _fraction(stream.guessed_rate),
            duration_seconds=None if still or self._live else self._duration_seconds(),
            frames=1 if still else stream.frames or None,
            live=self._live,
        )
        return info, _Converter(orientation, width, height)

    def _duration_seconds(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def _deliver(self, frames: Iterator[tuple[av.VideoFrame, int]], first_index: int, converter: _Converter) -> Iterator[Frame]:
        for index, (frame, pts) in enumerate(frames, start=first_index):
            yield Frame(
                stream=self._info,
                index=index,
                pts=pts,
                time_base=self._time_base,
                picture=DecodedPicture(frame, converter),
            )

    def _decode(self) -> Iterator[tuple[av.VideoFrame, int]]:
        """Go through the good frames from `start` to `end`, with their times."""
        following = self._stream.start_time or 0  # when the frame after this one starts
        damaged: deque[int | None] = deque(maxlen=64)  # the times of packets whose frames, if any, are no good
        for packet in self._packets():
            decoded: list[av.VideoFrame] = []
            bad = packet.is_corrupt
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                bad = True
            if bad:
                damaged.append(packet.pts)
                self._note_damage(packet.pts, following)
            for frame in decoded:
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None:
                    self._damage.untimed += 1
                    pts = following
                following = pts + (frame.duration or 0)
                if self._end is not None and pts >= self._end:
                    return
                if self._start is not None and pts < self._start:
                    continue
                if pts in damaged:
                    continue
                if frame.is_corrupt:
                    self._note_damage(pts, following)
                    continue
                if frame.colorspace == _UNSPECIFIED and frame.height >= _HD_LINES:
                    frame.colorspace = _BT709  # as players do; swscale would take BT.601
                yield frame, pts
        if not self._closed:
            self._note_end(following)

    def _packets(self) -> Iterator[av.Packet]:
        packets = self._container.demux(self._stream)
        errors = 0
        patience = time.monotonic() + self._timeout_seconds
        while errors < _TRIES:
            try:
                with self._lock:  # close() must not take the container away while libav reads from it
                    if self._closed:
                        return
                    packet = next(packets, None)
            except av.FFmpegError as error:
                packets = self._container.demux(self._stream)
                if self._is_file:
                    errors += 1
                elif not isinstance(error, av.BlockingIOError) or time.monotonic() > patience:
                    raise SourceError(f"{self._location} was interrupted: {_reason(error)}; check the connection") from error
                else:  # some camera drivers do not wait for the next picture
                    time.sleep(0.005)
                continue
            if packet is None:
                return
            errors = 0
            patience = time.monotonic() + self._timeout_seconds
            yield packet
        self._note_damage(None, 0)

    def _note_damage(self, pts: int | None, following: int) -> None:
        pts = following if pts is None else pts
        if self._start is None or pts >= self._start:
            self._damage.note(float(pts * self._time_base))

    def _note_end(self, end: int) -> None:
        """Compare where the stream ended with what the container states."""
        duration = self._duration_seconds()
        if self._live or duration is None:
            return
        ended, stated = float(end * self._time_base), float((self._stream.start_time or 0) * self._time_base) + duration
        # A container that states its own length only may mean its sound.
        if stated - ended > (0.1 if self._stream.duration else 0.5):
            self._damage.end = (ended, stated)

    def _why_not_opened(self, error: Exception) -> str:
        if not self._is_file:
            return f"{self._location} cannot be opened: {_reason(error)}; check the address, and that it can be reached"
        with Path(self._location).open("rb") as file:
            head = file.read(12)
        if head[4:8] in (b"ftyp", b"mdat", b"moov"):
            return f"{self._location} is an MP4 file without its index (moov): it was cut short; copy or record it again"
        return f"{self._location} is no video or image that libav can read: {_reason(error)}; give a video or image file"

    def _why_no_frame(self) -> str:
        if self._start is not None or self._end is not None:
            return f"{self._location} has no frame in the span asked for; see its length with the start and end left out"
        skipped = f": all {self.damaged} packets are damaged" if self.damaged else ": it holds no frame"
        return f"{self._location} yields no picture{skipped}; check the file"


class _Damage:
    """What could not be read, and when."""

    def __init__(self) -> None:
        self.count = 0
        self.untimed = 0
        self.end: tuple[float, float] | None = None
        self._span = (0.0, 0.0)

    def note(self, seconds: float) -> None:
        first, last = self._span if self.count else (seconds, seconds)
        self._span = (min(first, seconds), max(last, seconds))
        self.count += 1

    def warnings(self) -> tuple[str, ...]:
        texts = []
        if self.count:
            packets = "packet or frame" if self.count == 1 else "packets or frames"
            texts.append(f"{self.count} damaged {packets} skipped between {self._span[0]:.2f} s and {self._span[1]:.2f} s")
        if self.untimed:
            texts.append(f"{self.untimed} frames carry no time: each was taken to start where the one before it ends")
        if self.end:
            texts.append(f"ends at {self.end[0]:.2f} s of {self.end[1]:.2f} s: the file is cut short or damaged at its end")
        return tuple(texts)


def libav_versions() -> Mapping[str, str]:
    """Return the versions of PyAV and of the libraries that it carries."""
    return {"av": av.__version__, **{name: ".".join(map(str, parts)) for name, parts in av.library_versions.items()}}


def _check_file(path: Path) -> None:
    if not path.exists():
        raise SourceNotFoundError(f"{path} does not exist; give a video or image file, a folder, or an address")
    if path.is_dir():
        raise SourceError(f"{path} is a folder; give a video or image file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    if path.is_file() and not path.stat().st_size:
        raise SourceError(f"{path} is empty (0 bytes); copy or record it again")


def _fraction(value: _Rational | None) -> Fraction | None:
    return Fraction(value.numerator, value.denominator) if value and value.denominator else None


def _reason(error: Exception) -> str:
    if isinstance(error, av.ExitError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error)
