"""Options of plugins: read from text, checked against the constructor's annotations.

A plugin is written `name` or `name:key=value,key=value`. Commas inside brackets or quotes belong to the value:
`mtcnn:thresholds=[0.6,0.7,0.7]`, `csv:path="a,b.csv"`.
"""

import collections.abc
import enum
import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from framehook.errors import OptionError, did_you_mean

REQUIRED = inspect.Parameter.empty
"""Stands for the default of an option that has none."""

Spec: TypeAlias = str | Mapping[str, Any]
"""A plugin and its options: `name:key=value,…`, or a mapping with `name` and the options."""

_SEVERAL = (tuple, list, set, frozenset, collections.abc.Sequence)


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a plugin, as its constructor declares it."""

    name: str
    """The keyword."""
    annotation: Any
    """What it may hold."""
    default: Any
    """What it holds when not given; `REQUIRED` where it must be."""
    meaning: str = ""
    """What the docstring says of it under `Args:`, on one line."""

    def describe(self) -> str:
        """Say what it takes, such as `int, at least 6; default 20`."""
        takes = _describe(self.annotation)
        return takes if self.default is REQUIRED else f"{takes}; default {_show(self.default)}"


def parse_spec(spec: Spec) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of a plugin; those of `name:key=value,…` are text still.

    Raises:
        OptionError: a part without `=`, an option given twice, an unclosed bracket or quote, or a table without a name.
    """
    if isinstance(spec, str):
        return _parse_text(spec)
    options = dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise OptionError(f"a plugin given as a table needs its 'name', got {dict(spec)}")
    return name, options


def _parse_text(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in _split(rest, text):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise OptionError(f"'{part}' in '{text}' is not an option: write {name}:key=value,key=value")
        if key in options:
            raise OptionError(f"option '{key}' is given twice in '{text}'")
        options[key] = _unquote(value.strip())
    return name.strip(), options


def options_of(factory: Callable[..., Any]) -> tuple[Option, ...]:
    """Return the options that a plugin's constructor declares, in their order, with what its docstring says of them."""
    whole = factory
    while isinstance(whole, functools.partial):
        whole = whole.func
    target = whole.__init__ if inspect.isclass(whole) else whole
    hints = typing.get_type_hints(target, include_extras=True)
    meanings = _meanings(inspect.getdoc(whole) or "")
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        Option(parameter.name, hints.get(parameter.name, Any), parameter.default, meanings.get(parameter.name, ""))
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind in kinds
    )


def _meanings(docstring: str) -> dict[str, str]:
    """Return what stands under `Args:` of each parameter."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", docstring, re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section.group(1), re.MULTILINE) if section else []
    return {name: " ".join(text.split()) for name, text in entries}


def check_options(owner: str, factory: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert options for a constructor.

    Values that are text are read as the annotation says: numbers, true and false, `none`, paths, and lists, in brackets or not.

    Args:
        owner: what to call it in messages, such as `plugin 'mtcnn'`.
        factory: the class or function that the options are for.
        given: by option, text or a value of the right kind.

    Raises:
        OptionError: an option that is unknown, missing, or holds what it must not, naming owner, option, got and allowed.
    """
    known = {option.name: option for option in options_of(factory)}
    checked = {}
    for key, value in given.items():
        if key not in known:
            have = f"it has: {', '.join(known)}" if known else "it has none"
            raise OptionError(f"{owner} has no option '{key}'{did_you_mean(key, known)} ({have})")
        checked[key] = _convert(owner, known[key], value)
    for option in known.values():
        if option.default is REQUIRED and option.name not in checked:
            raise OptionError(f"{owner} needs option '{option.name}' ({option.describe()})")
    return checked


def _convert(owner: str, option: Option, value: Any) -> Any:
    import pydantic  # not above: a third of the time that `import framehook` may take

    adapter: pydantic.TypeAdapter[Any]
    try:
        adapter = pydantic.TypeAdapter(option.annotation)
    except pydantic.PydanticSchemaGenerationError:  # a class that pydantic knows nothing of: an object of it is taken as it is
        adapter = pydantic.TypeAdapter(option.annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_python(_read(value, option.annotation))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        where = "".join(f"[{part}]" for part in problem["loc"] if isinstance(part, int))
        what = problem["msg"].removeprefix("Value error, ")
        raise OptionError(
            f"{owner}: option '{option.name}'{where} got {_show(value)}: {what[:1].lower()}{what[1:]}"
            f" (it takes {option.describe()})"
        ) from error


def _read(value: Any, annotation: Any) -> Any:
    """Turn text into what pydantic converts by itself no further: None, numbers among given choices, and lists."""
    if not isinstance(value, str):
        return value
    kinds = list(_alternatives(annotation))
    if value.lower() in ("none", "null") and type(None) in kinds:
        return None
    for kind in kinds:
        for choice in _choices(kind):
            if not isinstance(choice, str) and str(choice) == value:
                return choice
    if str in kinds:
        return value
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            value = value[1:-1] if value[0] + value[-1] == "[]" else value  # such as [.5, .7] or [a, b]
    if any(typing.get_origin(kind) in _SEVERAL for kind in kinds):
        return [part.strip() for part in value.split(",")] if value.strip() else []
    return value


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, or the one that there is."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(arguments[0])
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _alternatives(argument)
    else:
        yield annotation


def _choices(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    members: tuple[enum.Enum, ...] = tuple(kind) if isinstance(kind, enum.EnumType) else ()
    return tuple(member.value for member in members)


def _split(rest: str, whole: str) -> Iterator[str]:
    """Split at the commas that stand outside of brackets and quotes."""
    part, depth, quote = "", 0, ""
    for character in rest:
        if character == "," and not depth and not quote:
            yield part
            part = ""
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (depth or part.partition("=")[2] == ""):  # within a value it is an apostrophe
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        part += character
    if depth or quote:
        raise OptionError(f"a bracket or quote is not closed in '{whole}'")
    if part or rest.endswith(","):
        yield part


def _unquote(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _show(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else f"{value}"


def _describe(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        limits = ", ".join(_limits(arguments[1:]))
        return f"{_describe(arguments[0])}{', ' if limits else ''}{limits}"
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(argument) for argument in arguments)
    if origin is not None and arguments:
        return f"{origin.__name__}[{', '.join('…' if a is Ellipsis else _describe(a) for a in arguments)}]"
    return "none" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}


def _limits(metadata: tuple[Any, ...]) -> Iterator[str]:
    """Put the limits of pydantic's `Field(ge=…)` into words."""
    for item in metadata:
        for limit in (item, *getattr(item, "metadata", ())):
            for attribute, words in _LIMITS.items():
                if (value := getattr(limit, attribute, None)) is not None:
                    yield f"{words} {value}"
