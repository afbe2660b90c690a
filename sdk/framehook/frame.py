"""One picture of a stream, with its exact time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from numbers import Real
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from framehook.errors import FramehookError, SourceError, UsageError

Image: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) uint8, RGB."""


@runtime_checkable
class Picture(Protocol):
    """What a frame is decoded into: pixels that are converted only when they are asked for.

    It outlives the moment: frames wait in queues, so memory that a source uses again must be copied.
    """

    def rgb(self) -> Image:
        """Convert to (height, width, 3) RGB, upright."""
        ...

    def scaled(self, width: int, height: int) -> Image:
        """Convert and scale in one pass to (height, width, 3) RGB, upright."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Planes:
    """A picture as most decoders keep it (YUV 4:2:0): half the bytes of RGB. Do not write into it."""

    y: NDArray[np.uint8]
    """(height, width): brightness."""
    u: NDArray[np.uint8]
    """(height / 2, width / 2), rounded up: how much bluer each 2 x 2 pixels are than grey; 128 is not at all."""
    v: NDArray[np.uint8]
    """(height / 2, width / 2), rounded up: how much redder."""
    matrix: Literal["bt601", "bt709"]
    """What the three have to do with red, green and blue."""
    full_range: bool
    """Whether black is 0 and white 255, not 16 and 235."""

    def __repr__(self) -> str:
        return f"Planes({self.y.shape[1]} x {self.y.shape[0]}, {self.matrix}, full_range={self.full_range})"


@runtime_checkable
class PlanarPicture(Protocol):
    """A picture that may hold planes, too."""

    def planes(self) -> Planes | None:
        """Return the decoder's planes as they are, upright; None where it keeps the picture in another way."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What is known of a stream before its first frame is decoded."""

    name: str
    """Unique among the streams of a run; for a file, its stem."""
    width: int
    """Pixels, after rotation."""
    height: int
    """Pixels, after rotation."""
    rate: Fraction | None = None
    """Frames per second, on average; None where the container does not say."""
    duration_seconds: float | None = None
    """Length as the container states it; None where it does not."""
    frames: int | None = None
    """Number of frames as the container states it; None where it does not."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, after rotation: what players stretch the picture by, and we do not."""
    live: bool = False
    """True for cameras and network streams, whose frames come whether or not we are ready."""
    location: str | None = None
    """The file's absolute path, the camera's device, or the address without user, password and query; None for what has none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Frame:
    """One picture and when it is shown.

    `image` is converted from the decoder's own format when first asked for, and kept: a frame that nobody looks at costs no
    conversion. Do not write into it: every stage sees the same array.
    """

    stream: StreamInfo
    """The stream that it belongs to."""
    index: int
    """Position in the stream as decoded, from 0."""
    pts: int
    """Presentation time in units of `time_base`."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    picture: Picture = field(compare=False)
    """The decoder's own pixels."""

    @property
    def seconds(self) -> float:
        """Presentation time in seconds, exact but for the rounding to a float."""
        return self.pts * self.time_base.numerator / self.time_base.denominator  # a tenth of the time of float(pts * time_base)

    @property
    def width(self) -> int:
        """Pixels."""
        return self.stream.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.stream.height

    @cached_property
    def image(self) -> Image:
        """(height, width, 3) uint8 RGB, upright, read-only."""
        image = self._converted(self.picture.rgb, self.width, self.height).view()  # a view: its owner may go on writing
        image.flags.writeable = False
        return image

    @property
    def planes(self) -> Planes | None:
        """What `image` would be converted from, for who converts on a device of their own; None where it is no YUV 4:2:0."""
        return self.picture.planes() if isinstance(self.picture, PlanarPicture) else None

    def resized(self, width: int, height: int) -> Image:
        """Return the picture as (height, width, 3) uint8 RGB, converted and scaled in one pass.

        Raises:
            ValueError: a size below 1 pixel.
        """
        if width < 1 or height < 1:
            raise ValueError(f"a picture is at least 1 x 1 pixels, got {width} x {height}")
        return self._converted(lambda: self.picture.scaled(width, height), width, height)

    def _converted(self, convert: Callable[[], Image], width: int, height: int) -> Image:
        """Hold what a source's own picture gives against its contract: else a detector would have to answer for it."""
        try:
            image = convert()
        except FramehookError:
            raise
        except Exception as error:
            raise SourceError(f"{self!r}: its picture cannot be converted: {type(error).__name__}: {error}") from error
        if not isinstance(image, np.ndarray) or image.shape != (height, width, 3) or image.dtype != np.uint8:
            got = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
            raise SourceError(f"{self!r}: its picture must be a ({height}, {width}, 3) uint8 array in RGB, got {got}")
        return image

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "image"}  # which the picture gives again

    def __repr__(self) -> str:
        return f"Frame({self.stream.name!r}, index={self.index}, seconds={self.seconds:.3f}, {self.width} x {self.height})"


def checked_seconds(value: object, *, what: str) -> float:
    """Return a time that a program gave, of any type of number.

    Args:
        value: seconds.
        what: what to call it in the message.

    Raises:
        UsageError: it is no number, or not finite.
    """
    try:
        seconds = float(value) if isinstance(value, Real) else math.nan
    except (OverflowError, TypeError):  # such as 10**400, or one of numpy's spans of time
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UsageError(f"{what} must be a finite number, got {value!r:.100}")
    return seconds
