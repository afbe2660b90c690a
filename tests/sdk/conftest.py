"""Files that framehook itself does not write, what libav itself says of a file, and a server."""

import socket
import threading
from contextlib import contextmanager, suppress
from fractions import Fraction

import av
import numpy as np
import pytest

from framehook.testing import grey_image, grey_of


@pytest.fixture(scope="session")
def libav_times():
    """Return a function: the presentation times of a file's best video stream, straight from libav."""

    def times(path):
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            return [frame.pts * Fraction(frame.time_base) for frame in container.decode(stream)]

    return times


@pytest.fixture(scope="session")
def encode():
    """Return a function that writes a video in other ways than framehook does."""
    return _encode


@pytest.fixture(scope="session")
def serving():
    """Return a function: serve each connection on a thread of its own by `answer(connection)`, and yield the port."""
    return _serving


@pytest.fixture
def quarters():
    """red green / blue white, wider than high."""
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24], picture[:16, 24:], picture[16:, :24], picture[16:, 24:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return picture


def _encode(
    path,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    frames=40,
    size=(96, 64),
    pts=None,
    time_base=Fraction(1, 25),
    b_frames=0,
    pixel_aspect=Fraction(1),
    rotation=None,
    picture=None,
    with_sound=False,
):
    """Write what framehook itself does not write: other codecs, containers and pixels, B-frames, rotation, pixels that are
    no squares, a second stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = 10
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        sound = container.add_stream("aac", rate=8000) if with_sound else None
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        for number in range(frames):
            shown = grey_image(*size, value=grey_of(number)) if picture is None else picture
            frame = av.VideoFrame.from_ndarray(shown).reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts[number] if pts else number, time_base
            container.mux(stream.encode(frame))
        if sound is not None:
            container.mux(sound.encode(_silence()))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


def _silence():
    samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
    samples.sample_rate = 8000
    return samples


@contextmanager
def _serving(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection):
            with connection, suppress(OSError):  # the reader may have gone
                answer(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
