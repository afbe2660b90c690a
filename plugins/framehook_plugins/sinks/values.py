"""How values are written: as the text of a CSV cell, and as what JSON can carry."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rounded(value: float) -> float:
    """Round to five significant digits, but never to fewer than three decimals: 34.123, 0.98765, 0.00012346."""
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(3, 4 - math.floor(math.log10(abs(value)))))


def number(value: float) -> str:
    """Return a rounded number with a point and without an exponent; NaN and infinity as nothing."""
    if not math.isfinite(value):
        return ""
    text = repr(rounded(value))
    return np.format_float_positional(float(text), trim="0") if "e" in text else text


def fixed_point(value: float, digits: int) -> str:
    """Return a number with so many decimals; NaN and infinity as nothing."""
    return f"{value:z.{digits}f}" if math.isfinite(value) else ""  # z: no -0.00


def round_finite(value: float, digits: int) -> float | None:
    """Return a number of any type, rounded to so many decimals, as JSON can carry it: NaN and infinity as None."""
    return round(float(value), digits) if math.isfinite(value) else None


def words(text: str) -> str:
    """Return a text that spreadsheets take for a text.

    Names of streams come from names of files, which strangers may choose; spreadsheets run a cell that begins like a formula.
    An apostrophe before it prevents that, as OWASP recommends ("CSV Injection").
    """
    return f"'{text}" if len(text) > 1 and text.startswith(_FORMULA) else text


def cell(value: Any) -> str:
    """Return an attribute's value as the text of a CSV cell: empty where it is missing, or several values."""
    if value is None or isinstance(value, np.ndarray):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return str(value)
    return words(str(value))


def plain(value: Any, *, exact: bool = True) -> Any:
    """Return what JSON can carry: NaN and infinity become None, arrays lists, and what JSON does not know its text.

    Args:
        value: anything.
        exact: False rounds numbers as `rounded` does.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if exact else rounded(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist(), exact=exact)
    if isinstance(value, Mapping):
        return {str(key): plain(item, exact=exact) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, exact=exact) for item in value]
    return str(value)
