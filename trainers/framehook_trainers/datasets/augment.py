"""Training views of a stored crop: moved, recoloured, and spoiled as video spoils faces."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_MOST_ROTATION = math.radians(15)
_SCALES = (0.87, 1.17)
_MOST_MOVE = 0.07  # of the crop's side
_SMALLEST_FACE = 18  # pixels of the crop's side before it is enlarged


def augment(
    stored: Pixels, random: np.random.Generator, *, covers: int, size: int, spoiled: float = 0.5, hidden: float = 0.2
) -> Pixels:
    """Return one random view, (size, size, 3).

    Args:
        stored: (side, side, 3) RGB.
        random: drawn from.
        covers: pixels of the stored crop's middle that inference would cut.
        size: pixels of the view's sides.
        spoiled: share of the views that are spoiled as video spoils faces.
        hidden: share of the views with a covered piece.
    """
    view = _move(stored, random, covers=covers, size=size)
    view = _recolour(view, random)
    if random.random() < spoiled:
        view = _spoil(view, random)
    if random.random() < hidden:
        view = _hide(view, random)
    return view


def _move(stored: Pixels, random: np.random.Generator, *, covers: int, size: int) -> Pixels:
    """Rotate, scale, shift and mirror."""
    angle = random.uniform(-1, 1) * _MOST_ROTATION
    scale = math.exp(random.uniform(*np.log(_SCALES))) * size / covers
    shift = random.uniform(-1, 1, 2) * _MOST_MOVE * size
    mirror = random.choice((-1, 1))
    # Of a pixel in the view: about the view's middle, turned and scaled, about the stored crop's middle.
    turn = np.array([[math.cos(angle) * mirror, -math.sin(angle)], [math.sin(angle) * mirror, math.cos(angle)]]) / scale
    offset = (stored.shape[0] - 1) / 2 - turn @ ((size - 1) / 2 + shift)
    to_stored = np.concatenate([turn, offset[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return _pixels(cv2.warpAffine(stored, to_stored, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _recolour(view: Pixels, random: np.random.Generator) -> Pixels:
    """Change brightness, contrast and white balance; now and then take the colour away."""
    gain = random.uniform(0.75, 1.25) * random.uniform(0.92, 1.08, 3)  # (3,) of R, G, B
    offset = random.uniform(-25, 25)
    levels = np.clip((np.arange(256)[:, None] - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)  # (256, 3)
    view = _pixels(cv2.LUT(view, levels[None]))
    if random.random() < 0.1:
        view = _pixels(cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    return view


def _spoil(view: Pixels, random: np.random.Generator) -> Pixels:
    """Take it from far away: few pixels, noise and compression, enlarged again."""
    size = view.shape[0]
    side = round(math.exp(random.uniform(math.log(_SMALLEST_FACE), math.log(size))))
    view = _pixels(cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA))
    if random.random() < 0.3:
        noise = random.normal(0, random.uniform(1, 10), view.shape)
        view = np.clip(view + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.5:
        _, file = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 90))])
        view = _pixels(cv2.imdecode(file, cv2.IMREAD_COLOR))
    return _pixels(cv2.resize(view, (size, size), interpolation=cv2.INTER_LINEAR))


def _hide(view: Pixels, random: np.random.Generator) -> Pixels:
    """Cover a piece with one colour (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020)."""
    size = view.shape[0]
    height, width = (int(side) for side in random.integers(size // 8, size // 2, 2))
    top, left = int(random.integers(0, size - height)), int(random.integers(0, size - width))
    view = view.copy()
    view[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return view


def _pixels(image: object) -> Pixels:
    return np.asarray(image, dtype=np.uint8)
