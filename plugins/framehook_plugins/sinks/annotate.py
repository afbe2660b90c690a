"""Boxes and captions drawn on a picture, legible on any background and at any size."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

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

_SMALLEST_TEXT = 10  # pixels; below it letters run into each other


def draw(image: Image, detections: Detections) -> Image:
    """Return a copy of the picture with a box and a caption for each detection, in the colour of its track.

    The caption says the track and what is known: `#3  34 ±5  female 97%`. Text and lines grow with the picture. Captions stay
    inside it, and off each other and off other boxes where there is room.

    Args:
        image: (height, width, 3) RGB.
        detections: boxes in the picture's pixels; one that is not finite, or lies outside, is left out.

    Raises:
        ValueError: a picture of another kind.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (height, width, 3) uint8, got {image.shape} {image.dtype}")
    canvas = image.copy()
    height, width = canvas.shape[:2]
    shorter = min(height, width)
    line = max(1, round(shorter / 270))
    text = max(_SMALLEST_TEXT, round(5 + shorter / 48))  # 10 at 240, 15 at 480, 28 at 1080, 50 at 2160
    rows = [(box.grown(line, width=width, height=height), row) for box, row in _visible(detections, width, height)]
    for box, detection in rows:
        _draw_box(canvas, box, colour_of(detection.track), line)
    boxes = [box for box, _ in rows]
    plates: list[Rectangle] = []
    for i, (box, detection) in enumerate(rows):
        parts = caption(detection, show_label=len(detections.names) > 1)
        masks = [_plate_mask(lines, text) for lines in _layouts(parts, text, width)]
        sizes = [(mask.shape[1], mask.shape[0]) for mask in masks]
        others = boxes[:i] + boxes[i + 1 :]
        shape, at = place(sizes, box, picture=(width, height), plates=plates, others=others)
        _draw_plate(canvas, at, masks[shape], colour_of(detection.track))
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


def _draw_box(canvas: Image, outside: Rectangle, colour: Colour, line: int) -> None:
    """Draw a box's outline with a dark rim, which shows on light backgrounds where the colour does not.

    Args:
        canvas: what to draw on.
        outside: the outer edge of the coloured line.
        colour: of the line.
        line: its width.
    """
    height, width = canvas.shape[:2]
    rim = max(1, line // 3)
    _draw_outline(canvas, outside.grown(rim, width=width, height=height), _BLACK, rim)
    _draw_outline(canvas, outside, colour, line)


def _draw_outline(canvas: Image, outside: Rectangle, colour: Colour, line: int) -> None:
    part = canvas[outside.y1 : outside.y2, outside.x1 : outside.x2]
    for side in (part[:line], part[-line:], part[:, :line], part[:, -line:]):
        side[:] = colour


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


def _layouts(parts: list[str], size: int, width: int) -> list[tuple[str, ...]]:
    """Return the ways to break a caption into lines: as wide as the picture allows, and narrow."""
    widest = max(_font(size).getlength(part) for part in parts)
    layouts = [_wrap(parts, size, room) for room in (width - size, 1.3 * widest)]
    return layouts[:1] if layouts[0] == layouts[1] else layouts


def _wrap(parts: list[str], size: int, room: float) -> tuple[str, ...]:
    """Join the parts into lines that fit the room; a part is never broken."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}  {part}"
        if _font(size).getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(part)
    return tuple(lines)


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
    return np.asarray(picture).astype(np.float32) / np.float32(255)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans Bold, which matplotlib carries, at a height in pixels; OpenCV's own letters have no `±`."""
    found = find_spec("matplotlib")  # found, not imported: that would take half a second
    if found is None or found.origin is None:
        raise ModuleNotFoundError("captions are drawn with a font that matplotlib carries: pip install matplotlib")
    return ImageFont.truetype(Path(found.origin).with_name("mpl-data") / "fonts" / "ttf" / "DejaVuSans-Bold.ttf", size)
