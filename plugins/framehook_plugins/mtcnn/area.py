"""Exact averages over whole pixels, from one integral image.

MTCNN's weights expect pictures that were shrunk by averaging whole pixels in integer bins: output pixel i of n averages the input
pixels from floor(i * size / n) to ceil((i + 1) * size / n), which neighbouring bins may share. (It is what torch calls adaptive
average pooling; OpenCV's INTER_AREA weighs fractions of pixels instead, and moves the boxes.) Since the bins have integer edges,
four look-ups in an integral image give each of them, for the whole picture and for any crop of it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from framehook import Image

_INT32_SUMS = 2**31 - 1
_CROPS_AT_ONCE = 512  # bounds the memory of the look-ups: 512 crops of 48 x 48 x 3 in 4 corners are 57 MB


class AreaPool:
    """Averages of one picture: the whole of it or crops, at any size.

    Args:
        image: (h, w, 3) uint8.
    """

    def __init__(self, image: Image) -> None:
        self._height, self._width = image.shape[:2]
        exact = cv2.CV_32S if 255 * image.shape[0] * image.shape[1] <= _INT32_SUMS else cv2.CV_64F
        self._sums = cv2.integral(image, sdepth=exact)  # (h + 1, w + 1, 3), [y, x] = sum over rows < y and columns < x

    def whole(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the picture at this size, (height, width, 3), values 0 to 255."""
        top, bottom = _bins(np.array([0]), np.array([self._height]), height)
        left, right = _bins(np.array([0]), np.array([self._width]), width)
        rows = self._sums[bottom[0]] - self._sums[top[0]]  # (height, w + 1, 3)
        sums = rows[:, right[0]] - rows[:, left[0]]  # (height, width, 3)
        counts = (bottom - top)[0][:, None] * (right - left)[0][None, :]
        return np.asarray(sums / counts[..., None], dtype=np.float32)

    def crops(self, boxes: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        """Return each box of the picture as (size, size, 3), stacked to (n, size, size, 3), values 0 to 255.

        Args:
            boxes: (n, 4) x1, y1, x2, y2, inside the picture and not empty.
            size: pixels of the result's sides.
        """
        parts = [self._crops(boxes[i : i + _CROPS_AT_ONCE], size) for i in range(0, len(boxes), _CROPS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty((0, size, size, 3), np.float32)

    def _crops(self, boxes: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        left, right = _bins(boxes[:, 0], boxes[:, 2], size)  # (n, size) each
        top, bottom = _bins(boxes[:, 1], boxes[:, 3], size)
        flat = self._sums.reshape(-1, 3)
        stride = self._width + 1
        upper, lower = top[:, :, None] * stride, bottom[:, :, None] * stride  # (n, size, 1)
        left_, right_ = left[:, None, :], right[:, None, :]  # (n, 1, size)
        sums = flat[lower + right_] - flat[lower + left_] - flat[upper + right_] + flat[upper + left_]
        counts = (bottom - top)[:, :, None] * (right - left)[:, None, :]
        return np.asarray(sums / counts[..., None], dtype=np.float32)


def _bins(low: NDArray[np.int64], high: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges of n bins over each span from low to high: starts and ends, each (len(low), n)."""
    span = (high - low)[:, None]
    i = np.arange(n)[None, :]
    starts = i * span // n
    ends = -(-(i + 1) * span // n)  # rounds up
    return low[:, None] + starts, low[:, None] + ends
