import cv2
import numpy as np
import pytest

from framehook_plugins.agegender.crop import cut, inside, squares


def ramp(width, height):
    """A picture whose red is 2 x, green 2 y: a crop's colours tell where it was cut."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 2 * np.arange(width)
    image[..., 1] = 2 * np.arange(height)[:, None]
    return image


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_a_crop_without_margin_and_shift_is_the_box_itself():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)

    crop = cut(image, boxes([10, 20, 42, 52]), margin=0, shift=0, size=32)

    np.testing.assert_array_equal(crop[0], image[20:52, 10:42])


def test_the_square_has_the_longer_side_and_lies_below_the_centre():
    x, y, side = squares(boxes([10, 20, 30, 60]), margin=-0.2, shift=0.12)[0]

    assert (x, y, side) == pytest.approx((20, 40 + 0.12 * 40, 32))


@pytest.mark.parametrize("side", [14, 28, 50, 100], ids=["enlarged", "as it is", "shrunk a little", "shrunk a lot"])
def test_a_crop_is_met_to_a_fraction_of_a_pixel(side):
    x1, y1 = 10.3, 5.6

    crop = cut(ramp(120, 120), boxes([x1, y1, x1 + side, y1 + side]), margin=0, shift=0, size=28)[0].astype(float)

    centres = (np.arange(28) + 0.5) / 28 * side
    np.testing.assert_allclose(crop[14, 2:-2, 0], 2 * (x1 + centres - 0.5)[2:-2], atol=0.8)
    np.testing.assert_allclose(crop[2:-2, 14, 1], 2 * (y1 + centres - 0.5)[2:-2], atol=0.8)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200

    crop = cut(stripes, boxes([20, 20, 380, 380]), margin=0, shift=0, size=30)

    assert np.abs(crop.astype(int) - 100).max() <= 5


def test_what_lies_beyond_the_picture_repeats_its_edge():
    image = np.full((40, 40, 3), 50, np.uint8)
    image[:, -1] = 200

    crop = cut(image, boxes([30, 10, 50, 30]), margin=0, shift=0, size=20)[0]

    assert (crop[:, :9] == 50).all()
    assert (crop[:, 9:] == 200).all()


@pytest.mark.parametrize(
    "box",
    [
        (5, 5, 5, 5),
        (30, 30, 10, 10),
        (-500, -500, -400, -400),
        (0, 0, 1e7, 1e7),
        (np.nan, 0, np.inf, 10),
    ],
    ids=["no area", "swapped corners", "outside", "absurdly large", "not finite"],
)
def test_a_box_that_makes_no_sense_still_gives_a_crop(box):
    assert cut(ramp(50, 40), boxes(box), margin=-0.2, shift=0.12, size=16).shape == (1, 16, 16, 3)


def test_a_picture_without_pixels_gives_black_crops():
    assert not cut(np.empty((0, 0, 3), np.uint8), boxes([0, 0, 9, 9]), margin=0, shift=0, size=8).any()


def test_no_boxes_give_no_crops():
    assert cut(ramp(50, 40), boxes(), margin=0, shift=0, size=8).shape == (0, 8, 8, 3)


def test_crops_of_the_same_face_at_two_resolutions_agree():
    blurred = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8), (0, 0), 12)
    half = cv2.resize(blurred, (200, 200), interpolation=cv2.INTER_AREA)

    large = cut(blurred, boxes([101, 81, 301, 291]), margin=-0.2, shift=0.12, size=64)
    small = cut(half, boxes([50.5, 40.5, 150.5, 145.5]), margin=-0.2, shift=0.12, size=64)

    assert np.abs(large.astype(int) - small).max() <= 3


@pytest.mark.parametrize(
    ("box", "share"),
    [((10, 10, 20, 20), 1.0), ((-5, 10, 5, 20), 0.5), ((95, 95, 105, 105), 0.25), ((200, 0, 210, 10), 0.0)],
    ids=["inside", "half beyond the left edge", "in the corner", "outside"],
)
def test_the_share_of_a_crop_inside_the_picture_is_told(box, share):
    assert inside(100, 100, boxes(box), margin=0, shift=0)[0] == pytest.approx(share)
