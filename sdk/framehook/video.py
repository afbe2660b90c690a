"""Decoding and encoding: the only file that imports av.

Times are the container's own: `pts` and `time_base` come from it, exact for variable frame rates. A frame without a presentation
time gets its decoding time, and without that the end of the frame before it; `VideoSource.warnings` then says so.

Pixels are upright: the rotation and mirroring that a container or an EXIF tag asks for are applied. They are the coded pixels:
where these are not square (`StreamInfo.pixel_aspect` is not 1) the picture is not stretched. Transparency is dropped. The curves
of HDR (PQ and HLG) are not undone: such a picture looks pale.
"""

import math
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias, cast

import av
import av.logging
import numpy as np
from av.buffer import Buffer
from av.codec.codec import Codec, UnknownCodecError
from av.container import InputContainer
from av.filter import Graph
from av.stream import Discard, Disposition
from av.video.format import VideoFormat
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from framehook.addresses import ENDED_BY_SENDER, is_address, public_location, scheme_of, shown
from framehook.damage import check_readable, has_more_pages, is_whole_gif, why_unreadable
from framehook.errors import OutputError, SourceError, UsageError
from framehook.frame import Frame, Image, Planes, StreamInfo
from framehook.timeline import Timeline

av.logging.set_level(None)  # libav's own messages would land on stderr, also from its threads

_BT709, _UNSPECIFIED = 1, 2  # of libav's AVColorSpace; 1 is BT.709 among its primaries and transfer curves, too
_BT470BG, _SMPTE170M = 5, 6  # both BT.601
_FULL_RANGE = 2  # of libav's AVColorRange
_HD_LINES = 720
_STILL_FORMATS = ("image2", "_pipe")
_SIDE_DATA, _DISPLAY_MATRIX = range(64), 6  # of libav's AVFrameSideDataType, and room for more
_MICROSECOND = Fraction(1, 1_000_000)
_TRIES = 100  # read errors in a row after which the rest is given up
_UNTIMED = 0x80  # libav's AVFMT_NOTIMESTAMPS: it counts 25 frames to the second, whatever comes
_TS_WRAP = 2**33  # ticks after which the clock of MPEG-TS begins anew: 26.5 hours
_GIVE_UP = 6  # timeouts without a frame that can be decoded
_CAMERA_POLL_SECONDS = 0.005
_READABLE = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "gif", "png", "webp")
_USUAL_RATE = Fraction(25)
_SQUARE = Fraction(1)
_BITS_PER_PIXEL = 0.15  # for encoders other than x264, which is told a quality instead
_LARGEST_PX = 16384  # wide or high, to libx264
_LONGEST_TICKS = 2**30  # that a picture may last: MP4 has 32 bits for it
_MOST_REPEATED = 1000  # times that a picture is written again to bridge a gap; a longer one is a clock that was set

_Packets: TypeAlias = Iterator["av.Packet[VideoStream]"]


class _Rational(Protocol):
    """PyAV's rational numbers: Fraction in some versions, a type of its own in others."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


class _Numbered(NamedTuple):
    frame: av.VideoFrame
    number: int
    pts: int


class _Orientation(NamedTuple):
    """How the coded picture is turned upright: first transposed, then mirrored."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Read the display matrix: x' = a x + c y, y' = b x + d y, of which we take the nearest quarter turn."""
        if (matrix := _display_matrix(frame)) is None:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
        return cls(False, a < 0, d < 0) if abs(a) >= abs(b) else cls(True, c < 0, b < 0)

    def upright(self, image: Image) -> Image:
        """Return the picture as it is to be seen, contiguous."""
        turned = image.transpose(1, 0, 2) if self.transpose else image
        return np.ascontiguousarray(turned[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1])


def _display_matrix(frame: av.VideoFrame) -> bytes | None:
    """How the container or an EXIF tag wants a picture turned: nine numbers of 32 bits, as libav has them."""
    # PyAV must not be asked about a picture that anything else stands beside: it frees a colour profile's name twice, and raises
    # at kinds that it does not know, such as EXIF. Asking ties a frame into a reference cycle, too: better a tiny copy of it.
    graph = Graph()
    steps = [graph.add_buffer(width=2, height=2, format=VideoFormat("rgb24"), time_base=_MICROSECOND)]
    steps += [graph.add("sidedata", f"mode=delete:type={kind}") for kind in _SIDE_DATA if kind != _DISPLAY_MATRIX]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    graph.push(VideoReformatter().reformat(frame, 2, 2, "rgb24"))
    matrix = cast(av.VideoFrame, graph.pull()).side_data.get("DISPLAYMATRIX")
    return bytes(matrix) if isinstance(matrix, Buffer) else None


class _Converter:
    """Turns the decoded frames of one stream into upright RGB, for any thread.

    Args:
        orientation: how to turn them.
        size: width and height of the stream, upright; frames of another size (a stream may change it) are scaled to it.
    """

    def __init__(self, orientation: _Orientation, size: tuple[int, int]) -> None:
        self._orientation = orientation
        self.size = size
        self._full, self._scaled = VideoReformatter(), VideoReformatter()  # each keeps the tables for one pair of sizes
        self._lock = threading.Lock()

    def convert(self, frame: av.VideoFrame, size: tuple[int, int]) -> Image:
        width, height = size[::-1] if self._orientation.transpose else size
        how = Interpolation.BILINEAR
        if (width, height) != (frame.width, frame.height):
            shrinks = width < frame.width or height < frame.height
            # Without full chroma, swscale rounds down as it scales: white becomes 253.
            how = (Interpolation.AREA if shrinks else Interpolation.BILINEAR) | Interpolation.FULL_CHR_H_INT
        converter = self._full if size == self.size else self._scaled
        with self._lock:  # PyAV alters both the frame and the converter meanwhile
            rgb = converter.reformat(frame, width, height, "rgb24", interpolation=how, threads=1)
        return self._orientation.upright(np.asarray(rgb.to_ndarray(), dtype=np.uint8))

    def planes(self, frame: av.VideoFrame) -> Planes | None:
        """Return the frame's own planes, where `convert` would turn nothing and scale nothing."""
        kind = frame.format.name
        if kind not in ("yuv420p", "yuvj420p") or self._orientation != _Orientation() or self.size != (frame.width, frame.height):
            return None
        with self._lock:
            colorspace, color_range = frame.colorspace, frame.color_range
        if colorspace not in (_BT709, _UNSPECIFIED, _BT470BG, _SMPTE170M):
            return None
        y, u, v = (_pixels(plane) for plane in frame.planes)
        return Planes(
            y=y,
            u=u,
            v=v,
            matrix="bt709" if colorspace == _BT709 else "bt601",
            full_range=kind == "yuvj420p" or color_range == _FULL_RANGE,
        )


def _pixels(plane: VideoPlane) -> NDArray[np.uint8]:
    """Return (height, width) of a plane's memory, whose rows may be longer."""
    rows = np.frombuffer(memoryview(cast(Buffer, plane)), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


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

    def __reduce__(self) -> tuple[type["ArrayPicture"], tuple[Image]]:
        return ArrayPicture, (self.rgb(),)  # libav's own frames can be neither copied nor sent

    def planes(self) -> Planes | None:
        """Return the decoder's planes as they are: None where they are no YUV 4:2:0, lie turned, or have another size."""
        return self._converter.planes(self._frame)


class ArrayPicture:
    """Pixels that the embedding program brings.

    Args:
        image: (height, width, 3) uint8 RGB.

    Raises:
        UsageError: another shape or type.
    """

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        if not isinstance(image, np.ndarray):
            raise UsageError(f"a picture must be a (height, width, 3) uint8 array in RGB, got {type(image).__name__}")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UsageError(f"a picture must be a (height, width, 3) uint8 array in RGB, got {image.shape} {image.dtype}")
        self._image = image

    def rgb(self) -> Image:
        """Return (height, width, 3) RGB: the same memory, where it is contiguous."""
        return np.ascontiguousarray(self._image).view()  # a view: the caller's own array stays writeable

    def scaled(self, width: int, height: int) -> Image:
        """Scale to (height, width, 3) RGB; shrinking averages areas."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(self._image), format="rgb24")
        return _Converter(_Orientation(), (frame.width, frame.height)).convert(frame, (width, height))


class VideoSource:
    """A video file, an image, a network stream or a camera. It is read once, from start to end.

    Damaged packets, and frames that the decoder could only patch up, are left out and counted; what can be read is delivered.
    `close` may be called from another thread: it waits for the packet that is being read, for `timeout_seconds` at most.

    Args:
        location: a path, a URL, or a camera such as `/dev/video0`.
        name: the stream's name.
        live: frames come whether or not we are ready, and silence or a lost connection is an error, as are frames of which none
            can be decoded any more. Streams from the network that state no length are live in any case.
        start_seconds: presentation time of the first frame, rounded to the container's unit of time. Frames are numbered from
            the stream's beginning also then: up to there the file is read, but not decoded. Live streams and images have none.
        end_seconds: presentation time before which to stop; of live streams, counted from their first frame.
        threads: with more than one, frames are decoded ahead of time: faster for a single large stream, but next to damage up to
            that many good frames are lost.
        sender_ends: whether a live stream is over when its sender closes the connection, over plain TCP or HTTP; else that, too,
            is an error.
        device_format: libav's name for the camera's driver: `v4l2`, `avfoundation`, `vfwcap`, `dshow`. The time of a camera
            begins with 0 at its first frame, as does that of live streams that carry no times, such as MJPEG over HTTP: theirs
            is when their frames came.
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
        sender_ends: bool = True,
        device_format: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._location = str(location)
        self._shown = shown(self._location)
        self._is_file = device_format is None and not is_address(self._location)
        self._device_format = device_format
        self._live = live
        self._threads = threads
        self._sender_ends = sender_ends
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._closed = False
        self._frames: Iterator[Frame] = iter(())
        self._container, self._stream = self._open()
        try:
            self._still = self._container.format.name.endswith(_STILL_FORMATS)
            stated_seconds = None if self._still else self._stated_duration()
            self._live = live or not (self._is_file or stated_seconds)
            self._untimed = self._live and not device_format and bool(self._container.format.flags & _UNTIMED)
            start = start_seconds if start_seconds > 0 and not (self._live or self._still) else None
            end = None if self._still or self._live else end_seconds
            self._clock = _MICROSECOND if self._untimed else self._time_base()
            self._timeline = Timeline(
                self._clock,
                begins=0 if self._untimed else self._stream.start_time or 0,
                span=(self._ticks(start), self._ticks(end)),
                stated_seconds=stated_seconds,
                # The length of a container as a whole may be that of its sound.
                exact=bool(self._stream.duration) or len(self._container.streams) == 1,
                listed=bool(self._stream.frames),
                wraps_at=_TS_WRAP if self._live and self._container.format.name == "mpegts" else None,
                in_coded_order=self._container.format.name == "avi" and not self._stream.codec_context.codec.intra_only,
            )
            self._timeline.damage.pages = self._still and self._is_regular() and has_more_pages(Path(self._location))
            frames = self._decode(*self._beginning())
            if self._is_file and self._container.format.name == "gif" and not is_whole_gif(Path(self._location)):
                frames = self._without_last(frames)
            first = next(frames, None)
            if first is None:
                raise SourceError(self._why_no_frame())
            orientation = _Orientation.of(first.frame)
            size = (first.frame.width, first.frame.height)
            pixel_aspect = self._pixel_aspect()
            if orientation.transpose:
                size, pixel_aspect = size[::-1], 1 / pixel_aspect
            self._info = self._describe(name, size, pixel_aspect, stated_seconds)
        except BaseException:
            self.close()
            raise
        # A camera has no container: its clock may count from anywhere.
        origin = first.pts if device_format else 0
        if self._live and (length := self._ticks(end_seconds)) is not None:
            self._timeline.end = first.pts + length
        self._frames = self._deliver(chain([first], frames), _Converter(orientation, size), origin)

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""
        return self._info

    @property
    def damaged(self) -> int:
        """Packets and frames left out so far because they were damaged."""
        return self._timeline.damage.count

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was skipped so far, and where the file ended too soon."""
        return self._timeline.damage.warnings()

    def __iter__(self) -> Iterator[Frame]:
        """Go through the frames; a second loop goes on where the first one stopped."""
        return self._frames

    def close(self) -> None:
        """Let go of the file or device; a second call is harmless."""
        self._closed = True
        if not self._lock.acquire(timeout=self._timeout_seconds):
            return  # libav reads packets of other streams for ever; what reads them lets go of the container at its end
        try:
            self._container.close()
            self._frames = iter(())  # the loop holds us: we must not hold it, or the decoder's memory waits for the collector
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open(self) -> tuple[InputContainer, VideoStream]:
        if self._is_file:
            check_readable(Path(self._location))
        options = {
            "pattern_type": "none",  # a % in a file's name does not make it a sequence of images
            "merge_pmt_versions": "1",  # an encoder that begins anew, with other ids, goes on in the same stream
            "overrun_nonfatal": "1",  # packets of UDP that nobody had time for are lost, and not the whole stream
        }
        if scheme_of(self._location) in ("rtsp", "rtsps"):
            options["rtsp_transport"] = "tcp"  # over UDP, parts of large frames are lost
        if self._device_format == "avfoundation":
            options["framerate"] = "30"  # libav's own default, 29.97, is refused by most cameras
        try:
            container = av.open(
                f"file:{self._location}" if self._is_file else self._location,  # a colon in a file's name is no protocol
                format=self._device_format,
                options=options,
                metadata_errors="replace",
                timeout=None if self._is_file else self._timeout_seconds,
            )
        except (av.FFmpegError, ValueError) as error:
            if self._is_file:
                raise SourceError(why_unreadable(Path(self._location), _reason(error))) from error
            reason = _reason(error)  # libav's own error holds the whole address, with its password, and would be in tracebacks
            raise SourceError(f"{self._shown} cannot be opened: {reason}; check that it can be reached") from None
        try:
            stream = self._choose(container)
        except SourceError:
            container.close()
            raise
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all  # the demuxer passes over sound and subtitles
        ahead = self._threads > 1 and self._is_file and not self._live
        stream.codec_context.thread_count = self._threads if ahead else 1
        stream.codec_context.thread_type = "AUTO" if ahead else "SLICE"
        return container, stream

    def _choose(self, container: InputContainer) -> VideoStream:
        """Return what libav holds for the best video stream; the cover of a song is none."""
        videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if container.format.name == "tty":  # so libav calls any text, and would draw it as a terminal does
            raise SourceError(f"{self._shown} is a text file; give a video or image file")
        if not videos:
            kinds = " and ".join(sorted({stream.type for stream in container.streams}))
            held = f"only {kinds}" if kinds else "and nothing else"
            raise SourceError(f"{self._shown} has no video in it, {held}; give a video or image file")
        if (tiles := sum(bool(stream.disposition & Disposition.dependent) for stream in videos)) > 1:
            kind = f"a picture in {tiles} tiles, as phones' HEIC files are, of which libav hands out only one at a time"
            raise SourceError(f"{self._shown} is {kind}; convert it to JPEG or PNG")
        best = container.streams.best("video")
        stream = best if best in videos else videos[0]
        if stream.codec_context is None:
            raise SourceError(f"{self._shown} holds video of a kind that this libav cannot decode; convert it to H.264")
        return stream

    def _is_regular(self) -> bool:
        return self._is_file and Path(self._location).is_file()

    def _time_base(self) -> Fraction:
        return _fraction(self._stream.time_base) or _MICROSECOND

    def _ticks(self, seconds: float | None) -> int | None:
        """Return the first tick at or after a time, give or take a thousandth: 10.4 as a float is a little more than that."""
        return None if seconds is None else math.ceil(Fraction(seconds) / self._clock - Fraction(1, 1000))

    def _beginning(self) -> tuple[_Packets, int | None]:
        """Return the packets to decode, and the index of the first frame from `start` on where others before it are left out."""
        start = self._timeline.start
        once = self._is_file and not self._is_regular()  # a pipe
        if start is None or once or self._timeline.in_coded_order:
            return self._packets(), None
        before, first_key, key_times = 0, None, {start}
        for packet in self._packets():
            if first_key is None and packet.is_keyframe:
                first_key = packet.pts  # what comes before it cannot be decoded
            if packet.dts is not None and packet.dts >= start:  # as are all that follow, and no pts is less than its dts
                break
            if packet.pts is None or first_key is None or not packet.size or packet.is_discard:
                continue
            if first_key <= packet.pts < start:
                before += 1
                key_times = {packet.pts, packet.dts or packet.pts} if packet.is_keyframe else key_times
        for time_sought in sorted(key_times, reverse=True):  # some formats are searched by pts, some by dts
            packets = self._packets_from(time_sought)
            first = next(packets, None)
            if first is not None and first.is_keyframe and first.pts is not None and first.pts <= start:
                return chain([first], packets), before
        self._container.close()  # where no search leads to that key frame, decode all from the beginning
        self._container, self._stream = self._open()
        return self._packets(), None

    def _packets_from(self, pts: int) -> _Packets:
        try:
            self._container.seek(pts, stream=self._stream)
        except av.FFmpegError:
            return iter(())
        return self._packets()

    def _stated_duration(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._time_base())
        if not self._container.duration:
            return None
        # Matroska counts its length from 0, others from their first frame.
        before = self._stream.start_time or 0 if "matroska" in self._container.format.name else 0
        return self._container.duration / av.time_base - float(before * self._time_base())

    def _pixel_aspect(self) -> Fraction:
        """Return the width of a coded pixel over its height; what an image says of it is meant for printers."""
        return (None if self._still else _fraction(self._stream.sample_aspect_ratio)) or _SQUARE

    def _describe(self, name: str, size: tuple[int, int], pixel_aspect: Fraction, stated_seconds: float | None) -> StreamInfo:
        stream = self._stream
        return StreamInfo(
            name=name,
            width=size[0],
            height=size[1],
            pixel_aspect=pixel_aspect,
            rate=None if self._still or self._untimed else _fraction(stream.average_rate) or _fraction(stream.guessed_rate),
            duration_seconds=None if self._live else stated_seconds,
            frames=1 if self._still else stream.frames or None,
            live=self._live,
            location=self._location if self._device_format else public_location(self._location),
        )

    def _why_no_frame(self) -> str:
        if self._timeline.damage.count and self._still:
            kind = "of a kind that libav cannot decode, such as animated WebP"
            large = "has more than 268 million pixels, the most that libav decodes"
            return f"{self._shown} yields no picture: it is damaged, {kind}, or {large}; copy, convert or shrink it"
        if self._timeline.damage.count:
            return f"{self._shown} yields no picture: all of it is damaged; copy or record it again"
        if self._timeline.start is not None or self._timeline.end is not None:
            begins = float((self._stream.start_time or 0) * self._time_base())
            return f"{self._shown} has no frame in the span asked for: it begins at {begins:.2f} s; choose another start or end"
        return f"{self._shown} has no frame in it; record it again"

    def _deliver(self, frames: Iterable[_Numbered], converter: _Converter, origin: int) -> Iterator[Frame]:
        for frame, number, pts in frames:
            picture = DecodedPicture(frame, converter)
            yield Frame(stream=self._info, index=number, pts=pts - origin, time_base=self._timeline.time_base, picture=picture)

    def _decode(self, packets: _Packets, first: int | None) -> Iterator[_Numbered]:
        """Go through the good frames from `start` to `end`."""
        timeline, number = self._timeline, first or 0
        damaged: deque[int | None] = deque(maxlen=64)  # times of packets whose frames, if there are any, are no good
        broken: int | None = None  # the time of the last damage since the last key frame
        began = last_good = time.monotonic()
        for packet in packets:
            decoded: list[av.VideoFrame] = []
            bad = packet.is_corrupt
            came = round((time.monotonic() - began) / _MICROSECOND) if self._untimed else None
            stated = timeline.stated_by_packet(packet.pts if came is None else came, packet.dts if packet.size else None)
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                bad = True
                timeline.forget(stated)
            if self._live and bad and time.monotonic() - last_good > _GIVE_UP * self._timeout_seconds:
                raise SourceError(
                    f"{self._shown} sends nothing any more that can be decoded; check its settings, and open it anew"
                )
            if bad:
                damaged.append(stated)
                broken = timeline.note_damage(stated, packet.duration)
            for frame in decoded:
                own = frame.pts if frame.pts is not None else frame.dts
                pts = timeline.time_of(own, frame.duration or 0) if came is None else timeline.time_of(came, 0)
                if timeline.end is not None and pts >= timeline.end:
                    return
                if timeline.went_back:
                    damaged.clear()  # these times come again
                if frame.is_corrupt:
                    broken = timeline.note_damage(pts, frame.duration)
                elif frame.key_frame:
                    broken = None
                if not timeline.is_wanted(pts):
                    number += first is None
                    continue
                if frame.is_corrupt or pts in damaged:
                    continue
                timeline.damage.doubtful += broken is not None and pts > broken
                if frame.colorspace == _UNSPECIFIED and frame.height >= _HD_LINES:
                    frame.colorspace = _BT709  # as players do; swscale would take it for BT.601
                yield _Numbered(frame, number, pts)
                last_good = time.monotonic()  # who asks for the next one may have taken long
                number += 1
        if not (self._closed or self._live):
            timeline.note_end()

    def _packets(self) -> _Packets:
        packets = self._container.demux(self._stream)
        errors, waited = 0, 0.0
        while errors < _TRIES:
            asked = time.monotonic()
            try:
                with self._lock:  # the container must not be closed while libav reads from it
                    if self._closed:
                        self._container.close()  # by then `close` may have given up
                        return
                    packet = next(packets, None)
            except IndexError:  # PyAV's, at the end of a stream beside which another one has turned up
                packet = None
            except av.FFmpegError as error:
                packets = self._container.demux(self._stream)  # an error ends the iterator
                waited += time.monotonic() - asked
                if self._is_file or isinstance(error, av.InvalidDataError):
                    if not errors:
                        self._timeline.note_damage(None)
                    errors += 1
                elif isinstance(error, av.BlockingIOError) and waited < self._timeout_seconds:
                    time.sleep(_CAMERA_POLL_SECONDS)  # some drivers do not wait for the next picture
                    waited += _CAMERA_POLL_SECONDS
                else:
                    raise self._interrupted(_reason(error)) from None  # which may hold a password
                continue
            if packet is not None and packet.size:
                errors, waited = 0, 0.0
            else:  # an empty one asks the decoder for what it holds, at the end
                waited += time.monotonic() - asked
            if packet is None:
                self._check_that_it_ended(waited)
                return
            yield packet
        if self._live:
            raise self._interrupted("nothing of it can be read any more")

    def _check_that_it_ended(self, waited: float) -> None:
        """See that a live stream ended because its sender ended it: libav also ends one that was lost.

        Raises:
            SourceError: it was lost.
        """
        if not self._live or self._closed or self._device_format or self._stated_duration():
            return
        if self._container.format.name == "hls":
            with suppress(av.FFmpegError, ValueError), av.open(self._location, timeout=self._timeout_seconds) as again:
                if again.duration:  # its list of segments has an end by now
                    return
        if waited > 0.9 * self._timeout_seconds:
            raise self._interrupted("no answer in time")
        by_sender = self._is_file or scheme_of(self._location) in ENDED_BY_SENDER
        whole = self._sender_ends or self._container.size > 0  # of a file that somebody serves the length is known
        if self._container.format.name == "hls" or not (by_sender and whole):
            raise self._interrupted("the connection was closed")

    def _interrupted(self, reason: str) -> SourceError:
        return SourceError(f"{self._shown} was interrupted: {reason}; check the connection")

    def _without_last(self, frames: Iterator[_Numbered]) -> Iterator[_Numbered]:
        """Leave out the last frame: of a GIF that was cut, it is whole only by chance, and the decoder does not tell."""
        last: _Numbered | None = None
        for item in frames:
            if last is not None:
                yield last
            last = item
        if last is not None:
            self._timeline.note_damage(last.pts)


class VideoWriter:
    """Writes H.264 into an MP4 file, with the timestamps given.

    While the file grows it is in fragments: a program that dies leaves a video that lacks its last seconds. Colours are BT.709,
    and tagged so. A picture of odd width or height gets one more column or row, a copy of its last one. A timestamp that does not
    exceed the one before it is moved to one tick after that; where times go back by a second or more, as in joined recordings, or
    ahead by more than MP4 can say, those that follow are moved along. Players do not show frames before time 0.

    Args:
        path: the file; its folder exists.
        width: pixels of the pictures to come.
        height: pixels of the pictures to come.
        time_base: seconds per unit of the timestamps to come.
        rate: frames per second, which only guides the encoder; None where it is not known.
        pixel_aspect: width of a pixel over its height, for players to stretch the picture by.

    Raises:
        OutputError: the file cannot be written, the pictures are too large, or libav has no encoder for H.264.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        time_base: Fraction,
        rate: Fraction | None = None,
        pixel_aspect: Fraction = _SQUARE,
    ) -> None:
        self._path = Path(path)
        if max(width, height) > _LARGEST_PX:
            raise OutputError(
                f"{path} cannot be written: pictures of {width} x {height} are too large for H.264, which takes "
                f"{_LARGEST_PX} x {_LARGEST_PX}; scale them down, or do without the video"
            )
        self._shape = (height, width, 3)
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        rate = rate or _USUAL_RATE
        self._time_base = time_base
        self._duration = max(1, round(1 / (rate * time_base)))  # in ticks; counts for the last frame, others last until the next
        self._last: tuple[av.VideoFrame, int] | None = None  # with its time
        self._moved = 0  # ticks by which times are later than those given
        self._closed = False
        self._converter = VideoReformatter()
        options = {
            "movflags": "+hybrid_fragmented+delay_moov",  # made into an ordinary file at its end
            "movie_timescale": str(time_base.denominator),  # the unit of the start, which is so as exact as the frames' times
            "flush_packets": "1",
        }
        with _writing(self._path):
            self._container = av.open(f"file:{self._path}", "w", format="mp4", options=options)
            self._stream = self._container.add_stream("libx264" if _has_codec("libx264", "w") else "h264")
            self._set_up(width, height, rate, pixel_aspect)
            self._container.start_encoding()

    def _set_up(self, width: int, height: int, rate: Fraction, pixel_aspect: Fraction) -> None:
        codec = self._stream.codec_context
        codec.width, codec.height = width + width % 2, height + height % 2
        codec.pix_fmt = "yuv420p"
        codec.sample_aspect_ratio = pixel_aspect
        codec.time_base, codec.framerate = self._time_base, rate
        codec.gop_size = max(1, round(rate))  # a fragment begins at a key frame: one a second
        codec.max_b_frames = 0  # they would move a start at 0 to negative times
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = ColorRange.MPEG
        if codec.name == "libx264":
            codec.options = {"preset": "veryfast", "crf": "20"}
        else:
            codec.bit_rate = round(width * height * float(rate) * _BITS_PER_PIXEL)

    def write(self, image: Image, pts: int) -> None:
        """Append a picture, (height, width, 3) uint8 RGB.

        Raises:
            ValueError: the picture has another size than the video.
            OutputError: it cannot be written.
        """
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"a picture of this video must be {self._shape} uint8, got {image.shape} {image.dtype}")
        pts = self._after_the_last(pts + self._moved)
        padded = np.pad(image, self._padding, mode="edge") if np.any(self._padding) else np.ascontiguousarray(image)
        frame = self._converter.reformat(
            av.VideoFrame.from_ndarray(padded, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.duration, frame.time_base = self._duration, self._time_base
        with _writing(self._path):
            if self._last is not None:
                again, shown = self._last
                for again.pts in range(shown + _LONGEST_TICKS, pts, _LONGEST_TICKS):
                    self._container.mux(self._stream.encode(again))
            frame.pts = pts
            self._container.mux(self._stream.encode(frame))
        self._last = frame, pts

    def _after_the_last(self, pts: int) -> int:
        if self._last is None:
            return pts
        _, last = self._last
        if last < pts <= last + _MOST_REPEATED * _LONGEST_TICKS:
            return pts
        if 0 <= (last - pts) * self._time_base < 1:
            return last + 1
        self._moved += last + self._duration - pts
        return last + self._duration

    def close(self) -> None:
        """Finish the file; a second call is harmless."""
        if self._closed:
            return
        self._closed = True
        with _writing(self._path):
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def codecs() -> Mapping[str, bool]:
    """Say which of the usual formats this libav reads, and whether it writes H.264."""
    return {**{f"{name} decoder": _has_codec(name, "r") for name in _READABLE}, "h264 encoder": _has_codec("h264", "w")}


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        Codec(name, mode)
    except UnknownCodecError:
        return False
    return True


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, UnknownCodecError, OSError, OverflowError) as error:  # the last, of a tick below 1 / 2^31 s
        raise OutputError(
            f"{path} cannot be written: {_reason(error)}; check the folder, its permissions and the disk"
        ) from error


def _fraction(value: _Rational | None) -> Fraction | None:
    return Fraction(value.numerator, value.denominator) if value and value.denominator else None


def _reason(error: Exception) -> str:
    if isinstance(error, av.ExitError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error)
