"""What libav itself says of a file."""

from fractions import Fraction

import av
import pytest


@pytest.fixture(scope="session")
def libav_times():
    """Return a function: the presentation times of a file's best video stream, straight from libav."""

    def times(path):
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            return [frame.pts * Fraction(frame.time_base) for frame in container.decode(stream)]

    return times
