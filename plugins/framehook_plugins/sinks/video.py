"""The sink `video`: the pictures with boxes and captions drawn on them."""

from pathlib import Path
from typing import TYPE_CHECKING

from framehook import Frame, FrameResult, OptionError, StreamInfo
from framehook_plugins.sinks.files import FileSink, StreamFiles, output_errors

if TYPE_CHECKING:
    from framehook import Image, VideoWriter


class VideoSink(FileSink["_AnnotatedFile"]):
    """Write annotated.mp4: H.264, with the box, track, age and gender of each detection, and the source's own timestamps.

    With `start=60` a recording's video has nothing to show in its first minute. Of a live stream times are counted from the first
    frame's, which may be a clock's, years after 0. Of a still picture it writes a picture, annotated.png. Letters that DejaVu
    Sans lacks, such as Chinese ones, are drawn as empty boxes.

    Args:
        path: where it is, ending in `.mp4`; `{stream}` stands for the stream's name.
        out: the folder that a relative path is under.

    Raises:
        OptionError: a path with another ending.
    """

    def __init__(self, *, path: str = "{stream}/annotated.mp4", out: Path = Path()) -> None:
        if not path.lower().endswith(".mp4"):
            raise OptionError(f"path must end in .mp4, as that is what is written, got '{path}'")
        self._files = StreamFiles(_AnnotatedFile, path=path, out=out, shareable=False, place=_place)

    def write(self, result: FrameResult) -> None:
        """Append the picture."""
        self._files.of(result.frame.stream).write(result)


def _is_still(stream: StreamInfo) -> bool:
    return stream.frames == 1 and stream.rate is None


def _place(path: Path, stream: StreamInfo) -> Path:
    return path.with_suffix(".png") if _is_still(stream) else path


class _AnnotatedFile:
    """A video, or a picture where the stream is one; with no frame written there is no file in the end."""

    def __init__(self, path: Path, stream: StreamInfo) -> None:
        self._still = _is_still(stream)
        self._path = path
        self._writer: VideoWriter | None = None
        self._begins = 0
        self._empty = True
        with output_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(b"")  # a place that cannot be written is told before the work

    def write(self, result: FrameResult) -> None:
        from framehook_plugins.sinks.annotate import draw  # brings Pillow

        frame = result.frame
        image = draw(frame.image, result.detections)
        with output_errors(self._path):
            if self._still:
                write_picture(self._path, image)
            else:
                if self._writer is None:
                    self._writer = _open_video(self._path, frame)
                    self._begins = frame.pts if frame.stream.live else 0
                self._writer.write(image, frame.pts - self._begins)
        self._empty = False

    def close(self) -> None:
        with output_errors(self._path):
            if self._writer is not None:
                self._writer.close()
            if self._empty:
                self._path.unlink(missing_ok=True)


def _open_video(path: Path, frame: Frame) -> "VideoWriter":
    from framehook import VideoWriter  # brings av

    stream = frame.stream
    return VideoWriter(
        path,
        width=frame.width,
        height=frame.height,
        time_base=frame.time_base,
        rate=stream.rate,
        pixel_aspect=stream.pixel_aspect,
    )


def write_picture(path: Path, image: "Image") -> None:
    """Write a picture, (height, width, 3) uint8 RGB, in the format that the path's ending names.

    Raises:
        OutputError: it cannot be written.
    """
    from PIL import Image as PillowImage

    with output_errors(path):
        PillowImage.fromarray(image).save(path)
