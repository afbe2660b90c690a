"""Models are loaded when first needed, and once, whichever threads need them."""

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

from framehook import ModelError

T = TypeVar("T")

_loaded_in: set[int] = set()  # the process that has loaded the first model, which those forked off from it inherit


class loaded_once(Generic[T]):  # noqa: N801 - a decorator, such as functools.cached_property
    """A property that is computed when it is first asked for, while other threads wait.

    `functools.cached_property` has no lock from Python 3.12 on: two threads would each load the model. And it would hand out a
    model in a process that was forked off, where the threads that it computes on are not: it would wait for them for ever.

    Raises:
        ModelError: models were loaded before this process was forked off.
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
        if _loaded_in - {os.getpid()}:
            raise ModelError(
                "models were loaded before this process was forked off, and none can be used in it: start processes by 'spawn', "
                "or fork them off before a pipeline is used"
            )
        values = instance.__dict__
        if self._name not in values:  # asked first without the lock: who has a model waits for nobody who loads another one
            with self._lock:
                if self._name not in values:
                    _loaded_in.add(os.getpid())
                    values[self._name] = self._load(instance)
        value: T = values[self._name]
        return value

    def __set__(self, instance: object, value: T) -> None:
        instance.__dict__[self._name] = value  # that there is a setter makes Python ask `__get__` each time
