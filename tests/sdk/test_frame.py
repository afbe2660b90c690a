import copy
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from framehook import Frame, StreamInfo, VideoSource
from framehook.reconnecting import _Scaled
from framehook.testing import grey_image, make_frame, synthetic_video


class CountingPicture:
    def __init__(self):
        self.conversions = 0

    def rgb(self):
        self.conversions += 1
        return np.full((4, 6, 3), 7, np.uint8)

    def scaled(self, width, height):
        return np.full((height, width, 3), 8, np.uint8)


def frame(picture, pts=1001, time_base=Fraction(1, 30000)):
    stream = StreamInfo(name="door", width=6, height=4)
    return Frame(stream=stream, index=3, pts=pts, time_base=time_base, picture=picture)


def test_seconds_come_from_the_presentation_time():
    assert frame(CountingPicture(), pts=90090, time_base=Fraction(1, 30000)).seconds == 3.003


def test_a_picture_is_converted_once_and_only_when_asked_for():
    picture = CountingPicture()
    shown = frame(picture)
    assert picture.conversions == 0
    assert shown.image is shown.image
    assert picture.conversions == 1


def test_scaling_does_not_convert_the_full_picture():
    picture = CountingPicture()
    assert frame(picture).resized(3, 2).shape == (2, 3, 3)
    assert picture.conversions == 0


def test_nobody_can_write_into_the_picture_that_all_stages_see():
    with pytest.raises(ValueError, match="read-only"):
        frame(CountingPicture()).image[0, 0] = 0


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)], ids=str)
def test_a_size_below_one_pixel_is_refused(size):
    with pytest.raises(ValueError, match="at least 1 x 1 pixels, got"):
        frame(CountingPicture()).resized(*size)


def test_a_frame_takes_its_size_from_its_stream_and_says_so_without_its_pixels():
    assert (frame(CountingPicture()).width, frame(CountingPicture()).height) == (6, 4)
    assert repr(frame(CountingPicture())) == "Frame('door', index=3, seconds=0.033, 6 x 4)"


def test_frames_of_the_same_moment_are_equal_whatever_holds_their_pixels():
    assert frame(CountingPicture()) == frame(CountingPicture())
    assert frame(CountingPicture()) != frame(CountingPicture(), pts=0)


def test_a_frame_made_for_a_test_belongs_to_a_stream_of_its_size():
    made = make_frame(grey_image(64, 48, value=80), index=2, seconds=0.08)
    assert (made.stream.width, made.stream.height, made.index, made.seconds) == (64, 48, 2, 0.08)
    assert (made.image == 80).all()


def test_a_frame_can_be_pickled_and_copied_and_nobody_can_write_into_its_picture(tmp_path):
    source = VideoSource(synthetic_video(tmp_path / "a.mp4", frames=1), name="a")
    (decoded,) = source
    source.close()
    scaled = replace(decoded, picture=_Scaled(decoded.picture, 64, 48))
    for made in (decoded, scaled, make_frame(decoded.image)):
        for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
            assert other == made
            assert (other.image == made.image).all()
            assert not other.image.flags.writeable
