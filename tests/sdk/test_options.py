import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from framehook import OptionError, check_options, options_of, parse_spec


class Plugin:
    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=6)] = 20,
        device: Literal["auto", "cpu"] = "auto",
        levels: tuple[float, float] = (0.6, 0.7),
        limit: float | None = None,
        on: bool = False,
        path: Path = Path("x"),
    ) -> None: ...


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mtcnn", ("mtcnn", {})),
        ("mtcnn:min_face=40,device=cuda", ("mtcnn", {"min_face": "40", "device": "cuda"})),
        ("csv:path=C:\\out\\a.csv", ("csv", {"path": "C:\\out\\a.csv"})),
        ("m:thresholds=[0.6,0.7],x=1", ("m", {"thresholds": "[0.6,0.7]", "x": "1"})),
        ('csv:path="a,b.csv",x=', ("csv", {"path": "a,b.csv", "x": ""})),
        ("csv:path=O'Brien.csv,x=1", ("csv", {"path": "O'Brien.csv", "x": "1"})),
    ],
    ids=["name", "two options", "a colon in a value", "commas in brackets", "commas in quotes", "an apostrophe"],
)
def test_a_spec_is_split_into_name_and_options(text, wanted):
    assert parse_spec(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mtcnn:40", "'40' in 'mtcnn:40' is not an option: write mtcnn:key=value"),
        ("m:a=1,a=2", "option 'a' is given twice"),
        ("m:a=[1,2", "a bracket or quote is not closed"),
        ("m:a='1,2", "a bracket or quote is not closed"),
        ("m:a=1,", "'' in 'm:a=1,' is not an option"),
    ],
)
def test_a_malformed_spec_is_refused(text, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_spec(text)


def test_text_is_read_as_the_annotations_say():
    text = {"size": "40", "device": "cpu", "levels": "[0.5, 0.9]", "limit": "none", "on": "true", "path": "a/b"}
    wanted = {"size": 40, "device": "cpu", "levels": (0.5, 0.9), "limit": None, "on": True, "path": Path("a/b")}
    assert check_options("plugin 'p'", Plugin, text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2,3", (2, 3)), ("2", (2,)), (" 2 , 3 ", (2, 3)), ("[2,3]", (2, 3)), ("[]", ()), ("", ())],
    ids=["without brackets", "one", "with spaces", "in brackets", "none in brackets", "none"],
)
@pytest.mark.parametrize("kind", [tuple[int, ...], tuple[int, ...] | None, Annotated[tuple[int, ...], Field(max_length=2)]])
def test_a_list_needs_no_brackets(kind, text, wanted):
    def plugin(*, sizes): ...

    plugin.__annotations__["sizes"] = kind
    assert check_options("plugin 'p'", plugin, {"sizes": text}) == {"sizes": wanted}


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Area:
    width: int
    height: int


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        (Literal[1, 2], "2", 2),
        (Literal["auto", 4], "4", 4),
        (Literal["auto", 4], "auto", "auto"),
        (Level, "2", Level.HIGH),
        (Annotated[int | None, Field(ge=0)], "none", None),
        (str, "[1]", "[1]"),
        (str | None, "None", None),
        (tuple[float, float], "[.6,.7]", (0.6, 0.7)),
        (list[str], "[a, b]", ["a", "b"]),
        (set[int], "1,2", {1, 2}),
        (Sequence[str], "a,b", ["a", "b"]),
        (Area, '{"width": 3, "height": 4}', Area(3, 4)),
    ],
    ids=str,
)
def test_text_is_read_for_every_kind_of_annotation(kind, text, wanted):
    def plugin(*, option): ...

    plugin.__annotations__["option"] = kind
    assert check_options("plugin 'p'", plugin, {"option": text}) == {"option": wanted}


def test_text_with_commas_stays_text_where_text_will_do():
    def plugin(*, names: str | list[str] = ""): ...

    assert check_options("plugin 'p'", plugin, {"names": "a,b"}) == {"names": "a,b"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sise": "4"}, "plugin 'p' has no option 'sise'; did you mean 'size'? (it has: size, device, levels, limit, on, path)"),
        ({"size": "3"}, "plugin 'p': option 'size' got '3': input should be greater than or equal to 6 (it takes int, at"),
        ({"size": "big"}, "option 'size' got 'big': input should be a valid integer"),
        ({"device": "gpu"}, "option 'device' got 'gpu': input should be 'auto' or 'cpu' (it takes auto | cpu; default 'auto')"),
        ({"levels": "[0.5,x]"}, "option 'levels'[1] got '[0.5,x]'"),
        ({"levels": "[0.5,1,2]"}, "option 'levels' got '[0.5,1,2]'"),
        ({"levels": "0.5,x"}, "option 'levels'[1] got '0.5,x': input should be a valid number"),
    ],
    ids=["unknown", "too small", "no number", "no choice", "no list", "too many", "no number in a list"],
)
def test_a_bad_option_names_plugin_option_got_and_allowed(given, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        check_options("plugin 'p'", Plugin, given)


def test_an_option_without_a_default_must_be_given():
    def plugin(*, address: str) -> None: ...

    with pytest.raises(OptionError, match=r"needs option 'address' \(str\)"):
        check_options("plugin 'p'", plugin, {})


def test_options_describe_themselves():
    described = {option.name: option.describe() for option in options_of(Plugin)}
    assert described["size"] == "int, at least 6; default 20"
    assert described["limit"] == "float or none; default None"
    assert described["levels"] == "tuple[float, float]; default (0.6, 0.7)"


def test_options_say_what_their_docstring_says():
    class Zoom:
        """Make larger.

        Args:
            factor: how much,
                in times.
            centre: where.

        Raises:
            factor: never.
        """

        def __init__(self, *, factor: float = 2.0, centre: str = "middle", silent: bool = True) -> None: ...

    assert [option.meaning for option in options_of(Zoom)] == ["how much, in times.", "where.", ""]


def test_a_factory_may_have_some_of_its_arguments_already():
    class Marks:
        """Marks.

        Args:
            size: how large.
            colour: which.
        """

        def __init__(self, *, size: int = 1, colour: str = "red") -> None: ...

    size, colour = options_of(partial(partial(Marks, size=4), colour="blue"))
    assert (size.name, size.annotation, size.default, size.meaning) == ("size", int, 4, "how large.")
    assert (colour.name, colour.default) == ("colour", "blue")
