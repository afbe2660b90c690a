"""Boxes and captions drawn on a picture, legible on any background and at any size."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from framehook import NO_TRACK, Detection, Detections, Image
from framehook_plugins.sinks.captions import caption
from framehook_plugins.sinks.placement import Rectangle, place

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue."""

# Okabe and Ito, "Color Universal Design" (2008), without black: told apart by every kind of colour vision.
_PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_UNTRACKED: Colour = (200, 200, 200)
_BLACK: Colour = (0, 0, 0)
_WHITE: Colour = (255, 255, 255)

# Shares of the picture's shorter side.
_TEXT = 1 / 45
_LINE = 1 / 360
_SMALLEST_TEXT = 10  # pixels; below it letters run into each other


def draw(image: Image, detections: Detections) -> Image:
    """Return a copy of the picture with a box and a caption for each detection, in the colour of its track.

    The caption says the track and what is known: `#3  34 ±5  female 97%`. Text and lines grow with the picture. Captions stay
    inside it, and off each other and off other boxes where there is room.

    Args:
        image: (height, width, 3) RGB.
        detections: boxes in the picture's pixels; one that is not finite, or lies outside, is left out.
    """
    canvas = image.copy()
    height, width = canvas.shape[:2]
    shorter = min(height, width)
    line = max(1, round(shorter * _LINE))
    text = max(_SMALLEST_TEXT, round(shorter * _TEXT))
    rows = _visible(detections, width, height)
    for box, detection in rows:
        _draw_box(canvas, box, colour_of(detection.track), line)
    plates: list[Rectangle] = []
    for box, detection in rows:
        parts = caption(detection, show_label=len(detections.names) > 1)
        mask = _plate_mask(tuple(_wrap(parts, text, min(width, max(box.x2 - box.x1, width // 5)))), text)
        others = [other for other, _ in rows if other is not box]
        at = place((mask.shape[1], mask.shape[0]), box, picture=(width, height), plates=plates, others=others)
        _draw_plate(canvas, at, mask, colour_of(detection.track))
        plates.append(at)
    return canvas


def colour_of(track: int) -> Colour:
    """Return the colour of a track; grey for none."""
    return _UNTRACKED if track == NO_TRACK else _PALETTE[track % len(_PALETTE)]


def _visible(detections: Detections, width: int, height: int) -> list[tuple[Rectangle, Detection]]:
    """Return what is seen of each box, in whole pixels, by track: captions then move less from frame to frame."""
    rows = []
    for detection in sorted(detections, key=lambda detection: detection.track):
        if np.isfinite(detection.box).all():
            x1, y1, x2, y2 = detection.box
            box = Rectangle(round(max(x1, 0)), round(max(y1, 0)), round(min(x2, width)), round(min(y2, height)))
            if box.x1 < box.x2 and box.y1 < box.y2:
                rows.append((box, detection))
    return rows


def _draw_box(canvas: Image, box: Rectangle, colour: Colour, line: int) -> None:
    """Draw the outline of a box with a dark rim, which shows on light backgrounds where the colour does not."""
    first, last = (box.x1, box.y1), (box.x2 - 1, box.y2 - 1)
    rim = max(1, line // 3)
    cv2.rectangle(canvas, first, last, _BLACK, line + 2 * rim, cv2.LINE_AA)
    cv2.rectangle(canvas, first, last, colour, line, cv2.LINE_AA)


def _draw_plate(canvas: Image, at: Rectangle, mask: NDArray[np.float32], colour: Colour) -> None:
    """Draw a plate and its text; what is beyond the picture is cut off."""
    part = canvas[at.y1 : at.y2, at.x1 : at.x2]
    cover = mask[: part.shape[0], : part.shape[1], None]  # (h, w, 1)
    ground = np.array(colour, np.float32)
    ink = np.array(_ink(colour), np.float32)
    part[:] = np.rint(ground + cover * (ink - ground)).astype(np.uint8)


def _ink(ground: Colour) -> Colour:
    """Return black or white, whichever has more contrast: WCAG 2.2, "relative luminance" and "contrast ratio"."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in ground]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Contrasts (L + 0.05) / 0.05 with black and 1.05 / (L + 0.05) with white are equal at L = 0.179.
    return _BLACK if luminance > 0.179 else _WHITE


def _wrap(parts: list[str], size: int, room: int) -> list[str]:
    """Join the parts into lines that are no wider than the room; a part is never broken."""
    font = _font(size)
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}  {part}"
        if font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


@lru_cache(maxsize=256)
def _plate_mask(lines: tuple[str, ...], size: int) -> NDArray[np.float32]:
    """Return how much ink each pixel of a plate gets, (height, width), 0 to 1."""
    font = _font(size)
    ascent, descent = font.getmetrics()
    pad = max(2, round(size * 0.3))
    step = ascent + descent
    width = round(max(font.getlength(line) for line in lines)) + 2 * pad
    picture = PillowImage.new("L", (width, step * len(lines) + pad))
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        pen.text((pad, pad // 2 + i * step), line, fill=255, font=font)
    return np.asarray(picture).astype(np.float32) / 255


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans Bold, which matplotlib carries, at a height in pixels; OpenCV's own letters have no `±`."""
    found = find_spec("matplotlib")  # found, not imported: that would take half a second
    if found is None or found.origin is None:
        raise ModuleNotFoundError("captions are drawn with a font that matplotlib carries: pip install matplotlib")
    return ImageFont.truetype(Path(found.origin).with_name("mpl-data") / "fonts" / "ttf" / "DejaVuSans-Bold.ttf", size)
