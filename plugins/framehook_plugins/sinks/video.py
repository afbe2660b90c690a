"""The sink `video`: the pictures with boxes and captions drawn on them."""

from pathlib import Path
from typing import TYPE_CHECKING

from framehook import FrameResult, StreamInfo, StreamStatistics
from framehook_plugins.sinks.files import StreamFiles, output_errors

if TYPE_CHECKING:
    from framehook import Image
    from framehook.video import VideoWriter

_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


class VideoSink:
    """Write annotated.mp4: H.264, with the box, track, age and gender of each detection, and the source's own timestamps.

    Of a still picture it writes a picture: .mp4 becomes .png.

    Args:
        path: where it is; `{stream}` stands for the stream's name.
        out: the folder that a relative path is under.
    """

    def __init__(self, *, path: str = "{stream}/annotated.mp4", out: Path = Path()) -> None:
        self._files = StreamFiles(_AnnotatedFile, path=path, out=out, shareable=False)

    def open(self, stream: StreamInfo) -> None:
        """Create the file."""
        self._files.open(stream)

    def write(self, result: FrameResult) -> None:
        """Append the picture."""
        self._files.of(result.frame.stream).write(result)

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Finish the stream's file."""
        self._files.end(stream)

    def close(self) -> None:
        """Finish all files."""
        self._files.close()


class _AnnotatedFile:
    """A video, or a picture where the stream is one; with no frame written there is no file in the end."""

    def __init__(self, path: Path, stream: StreamInfo) -> None:
        self._still = stream.frames == 1 and stream.rate is None
        self._path = path if not self._still or path.suffix.lower() in _PICTURE_SUFFIXES else path.with_suffix(".png")
        self._writer: VideoWriter | None = None
        self._empty = True
        with output_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(b"")  # a place that cannot be written is told before the work

    def write(self, result: FrameResult) -> None:
        from framehook_plugins.sinks.annotate import draw  # brings OpenCV

        frame = result.frame
        image = draw(frame.image, result.detections)
        self._empty = False
        with output_errors(self._path):
            if self._still:
                _write_picture(self._path, image)
                return
            if self._writer is None:
                self._writer = _open_video(self._path, result)
            self._writer.write(image, frame.pts)

    def close(self) -> None:
        with output_errors(self._path):
            if self._writer is not None:
                self._writer.close()
            if self._empty:
                self._path.unlink(missing_ok=True)


def _open_video(path: Path, result: FrameResult) -> "VideoWriter":
    from framehook.video import VideoWriter  # brings av

    frame = result.frame
    return VideoWriter(path, width=frame.width, height=frame.height, time_base=frame.time_base, rate=frame.stream.rate)


def _write_picture(path: Path, image: "Image") -> None:
    import cv2

    _, encoded = cv2.imencode(path.suffix, image[..., ::-1])  # OpenCV's order is blue, green, red
    path.write_bytes(encoded.tobytes())
