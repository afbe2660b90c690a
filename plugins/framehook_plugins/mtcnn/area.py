"""Exact averages over whole pixels, from one integral image.

MTCNN's weights expect pictures that were shrunk by averaging whole pixels in integer bins: output pixel i of n averages the input
pixels from floor(i * size / n) to ceil((i + 1) * size / n), which neighbouring bins may share. (It is what torch calls adaptive
average pooling; OpenCV's INTER_AREA weighs fractions of pixels instead, and moves the boxes.) Since the bins have integer edges,
four look-ups in an integral image give each of them, for the whole picture and for any crop of it.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from framehook import Image
from framehook_plugins.mtcnn.feeding import Pixels

_INT32_SUMS = 2**31 - 1
# What is looked up at once is what a core's cache holds: 16 rows of 1920 pixels are half a megabyte.
_ROWS_AT_ONCE = 16
_CROP_PIXELS_AT_ONCE = 64 * 24**2
_BOX_PIXELS = 10_000  # what a box of its own costs beside its pixels, in pixels


class AreaPool:
    """Averages of one picture: the whole of it or crops, at any size.

    Args:
        image: (h, w, 3) uint8.
    """

    def __init__(self, image: Image) -> None:
        self._height, self._width = image.shape[:2]
        exact = cv2.CV_32S if 255 * image.shape[0] * image.shape[1] <= _INT32_SUMS else cv2.CV_64F
        four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
        # (h + 1, w + 1, 4): [y, x] is the sum over rows < y and columns < x
        self._sums: NDArray[Any] = cv2.integral(four, sdepth=exact)

    def whole(self, height: int, width: int) -> Pixels:
        """Return the picture at this size, (height, width, 4)."""
        averages: Pixels = np.empty((height, width, 4), np.float32)
        self.fill(averages)
        return averages

    def fill(self, averages: Pixels) -> None:
        """Write the picture at the size of `averages`, (height, width, 4), into it."""
        height, width, _ = averages.shape
        top, bottom = whole_bins(self._height, height)
        left, right = whole_bins(self._width, width)
        for start in range(0, height, _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            rows = self._sums.take(bottom[some], axis=0)  # (_ROWS_AT_ONCE, w + 1, 4)
            rows -= self._sums.take(top[some], axis=0)
            sums = rows.take(right, axis=1)  # (_ROWS_AT_ONCE, width, 4)
            sums -= rows.take(left, axis=1)
            averages[some] = sums
            _divide(averages[None, some], (bottom - top)[None, some], (right - left)[None])

    def crops(self, boxes: NDArray[np.int64], size: int) -> Pixels:
        """Return each box of the picture as (size, size, 4), stacked to (n, size, size, 4).

        Args:
            boxes: (n, 4) x1, y1, x2, y2, inside the picture and not empty.
            size: pixels of the result's sides.
        """
        at_once = max(_CROP_PIXELS_AT_ONCE // size**2, 1)
        parts = [self._crops(boxes[i : i + at_once], size) for i in range(0, len(boxes), at_once)]
        return np.concatenate(parts) if parts else np.empty((0, size, size, 4), np.float32)

    def _crops(self, boxes: NDArray[np.int64], size: int) -> Pixels:
        left, right = _bins(boxes[:, 0], boxes[:, 2], size)  # (n, size) each
        top, bottom = _bins(boxes[:, 1], boxes[:, 3], size)
        flat = self._sums.reshape(-1, 4)
        stride = self._width + 1
        upper, lower = top[:, :, None] * stride, bottom[:, :, None] * stride  # (n, size, 1)
        left_, right_ = left[:, None, :], right[:, None, :]  # (n, 1, size)
        sums = flat.take(lower + right_, axis=0)
        sums -= flat.take(lower + left_, axis=0)
        sums -= flat.take(upper + right_, axis=0)
        sums += flat.take(upper + left_, axis=0)
        averages: Pixels = sums.astype(np.float32)
        _divide(averages, bottom - top, right - left)
        return averages


class AreaPatches:
    """Crops of one picture as `AreaPool` makes them, faster where they are few: only pixels in the boxes are looked at.

    Args:
        image: (h, w, 3) uint8.
    """

    def __init__(self, image: Image) -> None:
        self._image = image

    def crops(self, boxes: NDArray[np.int64], size: int) -> Pixels:
        """Return what `AreaPool.crops` returns, for at least one box."""
        low, high = boxes[:, 0:2].min(axis=0), boxes[:, 2:4].max(axis=0)
        apart = (boxes[:, 2:4] - boxes[:, 0:2]).prod(axis=1).sum() + _BOX_PIXELS * len(boxes)
        if apart > (high - low).prod():
            return self._pool(*low, *high).crops(boxes - np.tile(low, 2), size)
        return np.stack([self._pool(*box).whole(size, size) for box in boxes])

    def _pool(self, left: int, top: int, right: int, bottom: int) -> AreaPool:
        return AreaPool(self._image[top:bottom, left:right])


def _divide(sums: Pixels, heights: NDArray[np.int64], widths: NDArray[np.int64]) -> None:
    """Make averages of sums over bins, in place.

    Args:
        sums: (n, rows, columns, 4).
        heights: (n, rows) of the bins, in pixels.
        widths: (n, columns).
    """
    # Four times as many divisors as are needed, but all in a row: numpy is slow where every four values share one.
    n, rows, columns, _ = sums.shape
    divisors = heights.astype(np.float32)[:, :, None] * np.repeat(widths.astype(np.float32), 4, axis=1)[:, None, :]
    sums /= divisors.reshape(n, rows, columns, 4)


def whole_bins(size: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges of n bins over as many pixels: starts and ends, each (n,)."""
    starts, ends = _bins(np.array([0]), np.array([size]), n)
    return starts[0], ends[0]


def _bins(low: NDArray[np.int64], high: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges of n bins over each span from low to high: starts and ends, each (len(low), n)."""
    span = (high - low)[:, None]
    i = np.arange(n)[None, :]
    starts = i * span // n
    ends = -(-(i + 1) * span // n)  # rounds up
    return low[:, None] + starts, low[:, None] + ends
