"""Models are loaded when first needed, and once, whichever threads need them."""

import threading
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class loaded_once(Generic[T]):  # noqa: N801 - a decorator, such as functools.cached_property
    """A property that is computed when it is first asked for, while other threads wait.

    `functools.cached_property` has no lock from Python 3.12 on: two threads would each load the model.
    """

    def __init__(self, load: Callable[[Any], T]) -> None:
        self._load = load
        self._lock = threading.RLock()  # of the class: models are loaded one after another
        self.__doc__ = load.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> T | Self:
        if instance is None:
            return self  # the class was asked
        values = instance.__dict__  # which Python asks first from now on
        with self._lock:
            if self._name not in values:
                values[self._name] = self._load(instance)
            value: T = values[self._name]
        return value
