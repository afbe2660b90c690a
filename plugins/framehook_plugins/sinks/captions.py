"""What is said of a detection on a picture."""

from typing import Any

import numpy as np

from framehook import NO_TRACK, Detection
from framehook_plugins.sinks.values import cell


def caption(detection: Detection, *, show_label: bool = False) -> list[str]:
    """Return the parts of a caption, such as `["#3", "34 ±5", "female 97%"]`; what is missing is left out.

    Age and gender are said in short; any other attribute of one value by its name and value. Where there is nothing to say, the
    label and the score are.

    Args:
        detection: what to speak of.
        show_label: say the label in any case: for detectors that find more than one kind of thing.
    """
    known = {name: value for name, value in detection.attributes.items() if not _is_missing(value)}
    parts = [f"#{detection.track}"] if detection.track != NO_TRACK else []
    if show_label:
        parts.append(detection.label)
    parts += _with_share(known, "age", "age_std", "{:.0f} ±{:.0f}", "{:.0f}")
    parts += _with_share(known, "gender", "gender_score", "{} {:.0%}", "{}")
    parts += [f"{name} {_short(value)}" for name, value in known.items()]
    return parts or [f"{detection.label} {detection.score:.0%}"]


def _with_share(known: dict[str, Any], name: str, certainty: str, both: str, alone: str) -> list[str]:
    """Take a value and its certainty out of what is known, and return them in one part."""
    value, certain = known.pop(name, None), known.pop(certainty, None)
    if value is None:
        return []
    return [alone.format(value) if certain is None else both.format(value, certain)]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else cell(value)


def _is_missing(value: Any) -> bool:
    """Say whether there is nothing to show: NaN, an empty string, or an array of several values."""
    return isinstance(value, np.ndarray) or bool(value == "" or value != value)  # NaN is the one that differs from itself
