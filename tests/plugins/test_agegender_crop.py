import cv2
import numpy as np
import pytest

from framehook import Detections, VideoSource
from framehook_plugins.agegender.crop import cut, landmarks_of, moved, roll_of, share_inside, squares
from framehook_plugins.mtcnn.detector import MtcnnDetector


def ramp(width, height):
    """A picture whose red is 2 x, green 2 y: a crop's colours tell where it was cut."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 2 * np.arange(width)
    image[..., 1] = 2 * np.arange(height)[:, None]
    return image


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def whole(*rows, roll=0.0):
    """The squares about square boxes themselves."""
    found = squares(boxes(*rows), margin=0, shift=0)
    found[:, 3] = roll
    return found


UPRIGHT = np.array([[-10, -10], [10, -10], [0, 0], [-7, 12], [7, 12]], np.float32)


def turned(points, angle):
    """The points, clockwise as seen about the origin."""
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def test_a_crop_without_margin_and_shift_is_the_box_itself():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)

    crop = cut(image, whole([10, 20, 42, 52]), 32)

    np.testing.assert_array_equal(crop[0], image[20:52, 10:42])


def test_the_square_has_the_longer_side_and_lies_below_the_centre():
    x, y, side, angle = squares(boxes([10, 20, 30, 60]), margin=-0.2, shift=0.12)[0]

    assert (x, y, side, angle) == pytest.approx((20, 40 + 0.12 * 40, 32, 0))


@pytest.mark.parametrize("side", [14, 28, 50, 100], ids=["enlarged", "as it is", "shrunk a little", "shrunk a lot"])
def test_a_crop_is_met_to_a_fraction_of_a_pixel(side):
    x1, y1 = 10.3, 5.6

    crop = cut(ramp(120, 120), whole([x1, y1, x1 + side, y1 + side]), 28)[0].astype(float)

    centres = (np.arange(28) + 0.5) / 28 * side
    np.testing.assert_allclose(crop[14, 2:-2, 0], 2 * (x1 + centres - 0.5)[2:-2], atol=0.8)
    np.testing.assert_allclose(crop[2:-2, 14, 1], 2 * (y1 + centres - 0.5)[2:-2], atol=0.8)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200

    crop = cut(stripes, whole([20, 20, 380, 380]), 30)

    assert np.abs(crop.astype(int) - 100).max() <= 5


def test_what_lies_beyond_the_picture_repeats_its_edge():
    image = np.full((40, 40, 3), 50, np.uint8)
    image[:, -1] = 200

    crop = cut(image, whole([30, 10, 50, 30]), 20)[0]

    assert (crop[:, :9] == 50).all()
    assert (crop[:, 9:] == 200).all()


@pytest.mark.parametrize("side", [20, 100], ids=["as it is", "shrunk"])
def test_what_lies_beyond_the_picture_is_white_where_that_is_asked_for(side):
    image = np.full((200, 200, 3), 50, np.uint8)

    crop = cut(image, whole([200 - side / 2, 50, 200 + side / 2, 50 + side]), 20, border="white")[0]

    assert (crop[:, :9] == 50).all()
    assert (crop[:, 11:] == 255).all()


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
    assert cut(ramp(50, 40), squares(boxes(box), margin=-0.2, shift=0.12), 16).shape == (1, 16, 16, 3)


def test_a_picture_without_pixels_gives_black_crops():
    assert not cut(np.empty((0, 0, 3), np.uint8), whole([0, 0, 9, 9]), 8).any()


def test_no_boxes_give_no_crops():
    assert cut(ramp(50, 40), whole(), 8).shape == (0, 8, 8, 3)


def test_crops_of_the_same_face_at_two_resolutions_agree():
    blurred = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8), (0, 0), 12)
    half = cv2.resize(blurred, (200, 200), interpolation=cv2.INTER_AREA)

    large = cut(blurred, squares(boxes([101, 81, 301, 291]), margin=-0.2, shift=0.12), 64)
    small = cut(half, squares(boxes([50.5, 40.5, 150.5, 145.5]), margin=-0.2, shift=0.12), 64)

    assert np.abs(large.astype(int) - small).max() <= 3


@pytest.mark.parametrize(
    ("box", "share"),
    [((10, 10, 20, 20), 1.0), ((-5, 10, 5, 20), 0.5), ((95, 95, 105, 105), 0.25), ((200, 0, 210, 10), 0.0)],
    ids=["inside", "half beyond the left edge", "in the corner", "outside"],
)
def test_the_share_of_a_crop_inside_the_picture_is_told(box, share):
    assert share_inside(whole(box), width=100, height=100)[0] == pytest.approx(share)


@pytest.mark.parametrize("degrees", [-60, -20, 0, 35, 90])
def test_the_tilt_of_a_face_is_read_from_its_landmarks(degrees):
    face = turned(UPRIGHT, np.radians(degrees)) + 50

    assert np.degrees(roll_of(face[None]))[0] == pytest.approx(degrees, abs=1e-3)


def test_a_face_without_landmarks_counts_as_upright():
    assert roll_of(np.full((1, 5, 2), np.nan, np.float32))[0] == 0


@pytest.mark.parametrize("layout", [(0, 68, 2), (0, 5), (0, 10)], ids=["68 points", "no coordinates", "flat"])
def test_landmarks_of_another_layout_are_not_read(layout):
    detections = Detections(boxes=boxes(), attributes={"landmarks": np.empty(layout, np.float32)})

    assert landmarks_of(detections) is None


@pytest.mark.parametrize("down", [0, 0.04, -0.04], ids=["in its place", "lower", "higher"])
def test_a_tilted_face_is_cut_as_the_upright_one(down):
    pattern = cv2.resize(np.random.default_rng(2).integers(0, 256, (12, 12, 3), np.uint8), (200, 200))
    angle = np.radians(30)
    turn = cv2.getRotationMatrix2D((99.5, 99.5), -30, 1)  # OpenCV counts angles the other way round
    tilted = cv2.warpAffine(pattern, turn, (200, 200))
    face = UPRIGHT + 100  # a pixel's own centre lies half a pixel beyond its index
    box = boxes([70, 70, 130, 130])

    upright, straightened = (
        cut(image, moved(squares(box, landmarks, margin=-0.2, shift=0.12), down=down), 48)
        for image, landmarks in ((pattern, face[None]), (tilted, turned(UPRIGHT, angle)[None] + 100))
    )

    assert np.abs(upright.astype(int) - straightened).mean() < 2


def test_a_face_is_cut_where_its_landmarks_are_though_its_box_reaches_behind_the_head():
    face = (UPRIGHT + 100)[None]

    before, after = (squares(boxes(box), face, margin=0.1, shift=0.2) for box in ([60, 60, 140, 140], [60, 60, 190, 140]))

    np.testing.assert_array_equal(before, after)
    assert before[0, 0] == pytest.approx(UPRIGHT[:, 0].mean() + 100)


def test_a_frontal_face_is_cut_alike_with_landmarks_and_without(shared_videos):
    frame = next(iter(VideoSource(shared_videos / "sign-again-480p.mkv", name="sign")))
    (found,) = MtcnnDetector().detect([frame])
    by_box = squares(found.boxes, margin=0, shift=0)

    by_landmarks = squares(found.boxes, landmarks_of(found), margin=0, shift=0)

    np.testing.assert_allclose(by_landmarks[:, :3], by_box[:, :3], atol=0.1 * by_box[0, 2])


def test_a_face_with_a_missing_landmark_is_cut_about_its_box():
    face = (UPRIGHT + 100)[None]
    face[0, 2] = np.nan
    box = boxes([60, 50, 140, 140])

    np.testing.assert_array_equal(squares(box, face, margin=0, shift=0.1), squares(box, margin=0, shift=0.1))


@pytest.mark.parametrize(
    ("roll", "centre"), [(0, [10, 15]), (np.pi / 2, [5, 10]), (np.pi, [10, 5])], ids=["upright", "a quarter turn", "on its head"]
)
def test_a_square_is_moved_down_as_the_face_sees_it(roll, centre):
    (square,) = moved(whole([0, 0, 20, 20], roll=roll), down=0.25)

    np.testing.assert_allclose(square, [*centre, 20, roll], atol=1e-9)


def test_a_turned_square_reaches_further():
    corner = whole([0, 0, 20, 20], roll=np.pi / 4)

    assert share_inside(corner, width=100, height=100)[0] < 1


def test_a_box_without_finite_edges_is_cut_like_one_that_is_missing():
    found = squares(boxes([0, 0, np.inf, np.inf], [-np.inf, 0, 10, np.nan], [np.nan] * 4), margin=0.4, shift=0.1)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[2])
    assert cut(ramp(50, 40), found, 16).shape == (3, 16, 16, 3)
