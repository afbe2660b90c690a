"""What is said of a detection on a picture."""

import textwrap
from typing import Any

import numpy as np

from framehook import NO_TRACK, Detection, is_missing

_LONGEST_PART = 40  # characters


def caption(detection: Detection, *, show_label: bool = False) -> list[str]:
    """Return the parts of a caption, such as `["#3", "34 ±5", "female 97%"]`; what is missing is left out.

    Age and gender are said in short; any other attribute of one value by its name and value. Where there is nothing to say, the
    label and the score are.

    Args:
        detection: what to speak of.
        show_label: say the label in any case: for detectors that find more than one kind of thing.
    """
    shown = {name: value for name, value in detection.attributes.items() if not isinstance(value, np.ndarray)}
    known = {name: value for name, value in shown.items() if not is_missing(value)}
    parts = [f"#{detection.track}"] if detection.track != NO_TRACK else []
    if show_label:
        parts.append(detection.label)
    age, deviation = known.pop("age", None), known.pop("age_std", None)
    if age is not None:
        parts.append(_text(age, ".0f") + ("" if deviation is None else f" ±{_text(deviation, '.0f')}"))
    gender, score = known.pop("gender", None), known.pop("gender_score", None)
    if gender is not None:
        parts.append(str(gender) + ("" if score is None else f" {_text(score, '.0%')}"))
    parts += [f"{name} {_text(value, '.3g')}" for name, value in known.items()]
    parts = parts or [f"{detection.label} {detection.score:.0%}"]
    # One line each: the font can neither measure nor draw a line break.
    return [textwrap.shorten(part, _LONGEST_PART, placeholder="…") for part in parts]


def _text(value: Any, spec: str) -> str:
    return format(value, spec) if isinstance(value, float) else str(value)
