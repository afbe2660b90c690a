"""Boxes and captions on pictures."""

import itertools

import numpy as np
import pytest

from framehook import Detection, Detections, geometry
from framehook_plugins.sinks.annotate import colour_of, draw
from framehook_plugins.sinks.captions import caption
from framehook_plugins.sinks.placement import Rectangle, place

SIZES = [(160, 120), (320, 240), (640, 480), (1920, 1080), (1080, 1920), (3840, 2160)]
EVERY_SIZE = pytest.mark.parametrize(("width", "height"), SIZES, ids=[f"{w}x{h}" for w, h in SIZES])
PERSON = {"age": 34.4, "age_std": 5.2, "gender": "female", "gender_score": 0.971}


def grey(width, height):
    return np.full((height, width, 3), 120, np.uint8)


def person(box, *, track=3):
    return Detections(boxes=[box], tracks=[track], attributes={name: [value] for name, value in PERSON.items()})


def changed(before, after):
    """Return the rectangle of pixels that differ: x1, y1, x2, y2."""
    y, x = np.nonzero((before != after).any(axis=2))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def detection(track=3, *, label="face", score=0.987, **attributes):
    return Detection(box=(0, 0, 1, 1), score=score, label=label, track=track, attributes=attributes)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (detection(**PERSON), ["#3", "34 ±5", "female 97%"]),
        (detection(age=34.6, age_std=np.nan), ["#3", "35"]),
        (detection(age=np.nan, age_std=5.0, gender="", gender_score=np.nan), ["#3"]),
        (detection(gender="male"), ["#3", "male"]),
        (detection(-1, gender="male", gender_score=0.5), ["male 50%"]),
        (detection(-1), ["face 99%"]),
        (detection(speed_kmh=12.345, seat=4, seen=True, mood=""), ["#3", "speed_kmh 12.3", "seat 4", "seen True"]),
        (detection(landmarks=np.zeros((5, 2))), ["#3"]),
        (detection(age="adult", gender_score=0.9), ["#3", "adult"]),
        (detection(note="two\nlines"), ["#3", "note two lines"]),
        (detection(note="word " * 100), ["#3", "note word word word word word word word…"]),
    ],
)
def test_a_caption_says_what_is_known(row, parts):
    assert caption(row) == parts


def test_a_caption_says_the_label_where_there_is_more_than_one_kind():
    assert caption(detection(label="car"), show_label=True) == ["#3", "car"]


@EVERY_SIZE
def test_lines_and_captions_grow_with_the_picture_and_can_always_be_read(width, height):
    picture = grey(width, height)
    box = [width * 0.4, height * 0.4, width * 0.6, height * 0.6]
    x1, y1, x2, y2 = changed(picture, draw(picture, person(box)))
    caption_height = (y2 - y1) - height * 0.2
    assert caption_height >= 12
    assert 0.02 * height <= caption_height <= 0.16 * height
    assert x2 - x1 <= width


@EVERY_SIZE
@pytest.mark.parametrize("corner", list(itertools.product([0, 1], [0, 1])), ids=str)
def test_a_caption_stays_inside_the_picture_and_off_its_face_in_every_corner(width, height, corner):
    side = height // 5
    x, y = corner[0] * (width - side), corner[1] * (height - side)
    picture = grey(width, height)
    result = draw(picture, person([x, y, x + side, y + side]))
    line = max(1, height // 60)
    inside = result[y + line : y + side - line, x + line : x + side - line]
    assert (inside == 120).all()
    assert (result == colour_of(3)).all(axis=2).sum() > side * side / 10  # the plate and the line are there


def test_the_line_has_the_colour_of_the_track_and_a_dark_rim_on_any_background():
    for background in (0, 120, 255):
        result = draw(np.full((480, 640, 3), background, np.uint8), person([200, 200, 300, 300], track=5))
        middle = result[250, 190:205].tolist()
        assert list(colour_of(5)) in middle
        assert [0, 0, 0] in middle


def test_a_track_keeps_its_colour_and_neighbours_differ():
    assert len({colour_of(track) for track in range(7)}) == 7
    assert colour_of(2**40) == colour_of(2**40)
    assert colour_of(-1) not in {colour_of(track) for track in range(7)}


@pytest.mark.parametrize("track", range(-1, 7))
def test_text_has_contrast_on_every_plate(track):
    result = draw(grey(640, 480), person([200, 200, 300, 300], track=track))
    plate = np.array(colour_of(track))
    y, x = np.nonzero((result == plate).all(axis=2))
    text = result[y.min() + 4 : 196, x.min() + 4 : x.max() - 4].reshape(-1, 3)
    ink = text[np.abs(text.astype(int) - plate).sum(axis=1).argmax()]
    light, dark = sorted((luminance(plate), luminance(ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, level AA


def luminance(colour):
    share = np.asarray(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_picture_itself_is_left_as_it_was():
    picture = grey(320, 240)
    picture.flags.writeable = False
    result = draw(picture, person([100, 100, 150, 150]))
    assert (picture == 120).all()
    assert result.shape == picture.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (16, 16)], ids=str)
def test_a_picture_smaller_than_any_caption_is_drawn_on_as_far_as_it_reaches(size):
    assert draw(grey(*size), person([0, 0, 1, 1])).shape == (size[1], size[0], 3)


def test_boxes_that_cannot_be_seen_are_left_out():
    picture = grey(320, 240)
    boxes = [[np.nan, 0, 9, 9], [0, 0, np.inf, 9], [400, 0, 500, 100], [-90, -90, -10, -10], [50, 50, 50, 80], [80, 80, 20, 20]]
    assert (draw(picture, Detections(boxes=boxes)) == picture).all()


def test_a_box_that_reaches_far_beyond_the_picture_is_seen_at_its_edges():
    result = draw(grey(320, 240), Detections(boxes=[[-1e30, -1e30, 1e30, 1e30]], tracks=[2]))
    for edge in (result[0, 300], result[239, 160], result[120, 0], result[120, 319]):
        assert tuple(edge) == colour_of(2)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)],
    ids=["grey", "rgba", "float"],
)
def test_a_picture_of_another_kind_is_refused(picture):
    with pytest.raises(ValueError, match=r"image must be \(height, width, 3\) uint8, got \(9, 9"):
        draw(picture, Detections.empty())


def test_plates_of_neighbours_do_not_cover_each_other_or_a_face():
    boxes = [Rectangle(x, y, x + 40, y + 40) for y in (100, 180) for x in range(40, 600, 100)]
    plates = []
    for i, box in enumerate(boxes):
        _, plate = place([(180, 16), (100, 30)], box, picture=(640, 480), plates=plates, others=boxes[:i] + boxes[i + 1 :])
        plates.append(plate)
    placed = np.array(plates, np.float32)
    assert geometry.intersection(placed, np.array(boxes, np.float32)).sum() == 0
    assert np.triu(geometry.intersection(placed, placed), k=1).sum() == 0
    assert (geometry.clip(placed, width=640, height=480) == placed).all()
