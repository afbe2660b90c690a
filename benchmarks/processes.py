"""Work in a process of its own."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Result = TypeVar("Result")


def alone(call: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """Return what a call returns in a process of its own, where nobody else's threads are."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(call, *arguments, **named).result()
