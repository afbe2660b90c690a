"""Boxes as arrays, against plain loops."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from framehook import geometry

Box = tuple[float, float, float, float]


def random_boxes(n: int, *, seed: int = 0, whole: bool = False) -> NDArray[np.float32]:
    """Boxes of a 100 x 80 picture, some without an area."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 1, (n, 2, 2)) * [100, 80]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes[::7, 2] = boxes[::7, 0]
    return (boxes.round() if whole else boxes).astype(np.float32)


def plain_area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def plain_intersection(a: Box, b: Box) -> float:
    return plain_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def plain_iou(a: Box, b: Box) -> float:
    shared = plain_intersection(a, b)
    union = plain_area(a) + plain_area(b) - shared
    return shared / union if union else 0.0


def plain_nms(boxes: list[Box], scores: list[float], threshold: float, overlap: str) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for k in kept:
            shared = plain_intersection(boxes[i], boxes[k])
            areas = plain_area(boxes[i]), plain_area(boxes[k])
            if shared > threshold * (min(areas) if overlap == "smaller" else sum(areas) - shared):
                break
        else:
            kept.append(i)
    return kept


def test_area_is_width_times_height_and_0_for_swapped_corners() -> None:
    boxes = np.array([[0, 0, 2, 3], [1, 1, 1, 5], [5, 0, 2, 3], [5, 5, 2, 3]])
    assert geometry.area(boxes).tolist() == [6, 0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_intersection_and_iou_are_those_of_plain_loops(seed: int) -> None:
    a, b = random_boxes(30, seed=seed, whole=True), random_boxes(20, seed=seed + 100, whole=True)
    shared = [[plain_intersection(one, other) for other in b.tolist()] for one in a.tolist()]
    overlap = [[plain_iou(one, other) for other in b.tolist()] for one in a.tolist()]
    np.testing.assert_allclose(geometry.intersection(a, b), shared)
    np.testing.assert_allclose(geometry.iou(a, b), overlap, rtol=1e-6)
    assert 0 < np.count_nonzero(overlap) < 600


def test_iou_is_1_with_itself_and_0_between_empty_boxes() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 2, 2, 2]], np.float32)
    assert geometry.iou(boxes, boxes).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_iou_of_no_boxes_has_the_shape_of_both(n: int, m: int) -> None:
    assert geometry.iou(random_boxes(n), random_boxes(m)).shape == (n, m)


@pytest.mark.parametrize("overlap", ["union", "smaller"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_keeps_what_plain_loops_keep(threshold: float, overlap: Literal["union", "smaller"]) -> None:
    boxes = random_boxes(60, whole=True)
    scores = np.random.default_rng(1).permutation(60) / 60
    expected = plain_nms([tuple(box) for box in boxes.tolist()], scores.tolist(), threshold, overlap)
    assert geometry.nms(boxes, scores, threshold=threshold, overlap=overlap).tolist() == expected


def test_nms_drops_a_box_inside_another_only_when_asked_to() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 4, 6, 6]], np.float32)
    scores = np.array([0.9, 0.8])
    assert geometry.nms(boxes, scores, threshold=0.5).tolist() == [0, 1]
    assert geometry.nms(boxes, scores, threshold=0.5, overlap="smaller").tolist() == [0]


def test_nms_of_equal_scores_keeps_the_first() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    assert geometry.nms(boxes, np.ones(3), threshold=0.5).tolist() == [0]


def test_nms_of_nothing_keeps_nothing() -> None:
    assert geometry.nms(random_boxes(0), np.empty(0), threshold=0.5).tolist() == []


def test_clip_cuts_boxes_to_the_picture_and_leaves_the_argument_alone() -> None:
    boxes = np.array([[-5, -5, 50, 50], [90, 70, 120, 90], [200, 200, 300, 300], [10, 10, 20, 20]], np.float32)
    before = boxes.copy()
    clipped = geometry.clip(boxes, width=100, height=80)
    assert clipped.tolist() == [[0, 0, 50, 50], [90, 70, 100, 80], [100, 80, 100, 80], [10, 10, 20, 20]]
    assert clipped.dtype == np.float32
    np.testing.assert_array_equal(boxes, before)


@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_square_keeps_the_centre_and_takes_the_longer_side(margin: float) -> None:
    boxes = random_boxes(40)
    for box, (x1, y1, x2, y2) in zip(boxes.tolist(), geometry.square(boxes, margin=margin).tolist(), strict=True):
        side = max(box[2] - box[0], box[3] - box[1]) * (1 + margin)
        assert (x2 - x1, y2 - y1) == pytest.approx((side, side), abs=1e-4)
        assert (x1 + x2, y1 + y2) == pytest.approx((box[0] + box[2], box[1] + box[3]), abs=1e-4)


def test_square_of_no_boxes_is_no_boxes() -> None:
    assert geometry.square(random_boxes(0)).shape == (0, 4)
