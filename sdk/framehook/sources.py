"""What a user may name as a source: files, folders, globs, addresses, cameras, pictures, and `Source` objects.

Nothing is opened here: what is missing is told at once, and each source is opened when its turn comes, so that ten thousand
files need no ten thousand open files.
"""

import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from glob import glob, has_magic
from io import IOBase
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeGuard
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from framehook import returned
from framehook.addresses import LIVE_SCHEMES, RECORDED_SCHEMES, expand_home, has_cut_password, public_location
from framehook.contracts import DamageReporter, Source, keeps
from framehook.errors import SourceError, SourceNotFoundError, UsageError, did_you_mean
from framehook.frame import Frame, Image, StreamInfo, checked_seconds
from framehook.video import ArrayPicture, VideoSource

Images: TypeAlias = Iterable[Image] | Iterable[tuple[float, Image]]
"""Pictures, (height, width, 3) uint8 RGB each, or pairs of a time in seconds and a picture."""

FindSource: TypeAlias = Callable[[str, str], Callable[[], Source] | None]
"""Given the two sides of `scheme://address`, returns what opens it, or None."""

MEDIA_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv"}
    | {".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""What a file in a folder must end in to be taken for a video or an image."""

_Item: TypeAlias = Image | tuple[float, Image]

_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}:none", "avfoundation"), "win32": ("{}", "vfwcap")}
_DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file of Windows may be called so
_NAME_LENGTH = 80
_NAME_BYTES = 200  # in UTF-8; file systems take 255, and what sinks add needs room
_TICK = Fraction(1, 1_000_000)  # seconds, for pictures that come with a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source that has not been opened yet."""

    name: str
    """Unique in its list, and fit to be a folder's name on every system."""
    open: Callable[[], Source]
    """Opens it; its stream is called `name`."""
    live: bool = False
    """True for cameras and network streams."""
    location: str | None = None
    """As `StreamInfo.location`, where it is known before opening."""
    reopens: bool = True
    """Whether `open` can be called again, and then begins anew."""


SourceLike: TypeAlias = str | Path | int | Source | SourceSpec | Images
"""A file, folder, glob, address or camera number; a `Source`, opened or not; or pictures."""

SourcesLike: TypeAlias = SourceLike | Iterable[SourceLike]
"""One source or several."""


class _Found(NamedTuple):
    name: str  # as it would be called if no other were called so
    open_as: Callable[[str], Source]
    live: bool = False
    location: str | None = None
    reopens: bool = True


def open_sources(
    sources: SourcesLike,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    reconnects: bool = False,
    threads: int = 1,
    find: FindSource | None = None,
) -> list[SourceSpec]:
    """Say which streams these are, each with a name of its own, without opening any.

    Args:
        sources: what to read. A folder means the videos and images in it (not in its subfolders), in natural order; a glob, those
            among its matches, or all its matches where none looks like one. A list or other iterable that begins with an array,
            or with a pair of seconds and an array, is one source; any other is a list of sources. Its first item is looked at
            now. A number, or digits that name no file, means that camera of this machine.
        start_seconds: presentation time at which recorded videos begin.
        end_seconds: presentation time before which videos end.
        reconnects: a live stream whose sender closes its connection over plain TCP or HTTP is lost, and a run that is to
            reconnect opens it again; else it has ended.
        threads: as `VideoSource` takes them.
        find: looks for plugins that answer an address.

    Raises:
        SourceNotFoundError: a path, a folder's media, a camera or the scheme of an address that is not there.
        UsageError: an empty list, or something that cannot be a source.
    """
    finder = _Finder(start_seconds=start_seconds, end_seconds=end_seconds, reconnects=reconnects, threads=threads, find=find)
    taken: set[str] = set()
    specs = []
    for found in finder.resolve(sources):
        name = _unique(found.name, taken)
        specs.append(
            SourceSpec(
                name=name,
                open=partial(found.open_as, name),
                live=found.live,
                location=found.location,
                reopens=found.reopens,
            )
        )
    if not specs:
        raise UsageError("no source given; name a file, folder, address or camera, or give pictures")
    return specs


class ArraySource:
    """Pictures that the embedding program has, one by one: an iterable is drawn from as frames are asked for, never as a whole.

    Those of a list or an array are used where they lie: do not change them during the run. Those of any other iterable are
    copied, for it may fill the same memory again.

    Args:
        images: (height, width, 3) uint8 RGB arrays, all of one size, or pairs of a time in seconds and such an array.
        name: the stream's name.
        rate: frames per second, for pictures that come without a time.

    Raises:
        UsageError: there is no picture, or one has the wrong shape or type.
    """

    def __init__(self, images: Images, *, name: str = "arrays", rate: float | Fraction = 25) -> None:
        if not 0 < rate < math.inf:
            raise UsageError(f"source '{name}': rate must be frames per second, above 0, got {rate}")
        self._iterator: Iterator[_Item] = iter(images)
        first = next(self._iterator, None)
        if first is None:
            raise UsageError(f"source '{name}' has no picture; give at least one")
        self._items = enumerate(chain([first], self._iterator))
        self._stay = isinstance(images, (list, tuple, np.ndarray))
        self._timed = isinstance(first, tuple)
        self._rate = Fraction(rate).limit_denominator(1_000_000)
        size = _picture(name, 0, first[1] if isinstance(first, tuple) else first).rgb().shape  # (height, width, 3)
        frames = len(images) if isinstance(images, Sized) else None
        self._info = StreamInfo(
            name=name,
            width=size[1],
            height=size[0],
            rate=None if self._timed else self._rate,
            duration_seconds=None if self._timed or frames is None else float(frames / self._rate),
            frames=frames,
        )
        self._closed = False

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""
        return self._info

    def __iter__(self) -> Iterator[Frame]:
        """Go through the frames; a second loop goes on where the first one stopped."""
        for index, item in self._items:
            if self._closed:
                return
            yield self._frame(index, item)

    def close(self) -> None:
        """End the stream, and a generator of pictures, so that it lets go of what it holds; a second call is harmless."""
        self._closed = True
        if isinstance(self._iterator, Generator) and not getattr(self._iterator, "gi_running", False):  # by another thread
            self._iterator.close()

    def _frame(self, index: int, item: _Item) -> Frame:
        name = self._info.name
        if isinstance(item, tuple) is not self._timed:
            raise UsageError(f"source '{name}': either every picture has a time or none; picture {index} differs from the first")
        if isinstance(item, tuple):
            seconds = checked_seconds(item[0], what=f"source '{name}': the time of picture {index}")
            pts, image = round(seconds / _TICK), item[1]
        else:
            pts, image = index, item
        picture = _picture(name, index, image)
        if image.shape[:2] != (self._info.height, self._info.width):
            size, wanted = f"{image.shape[1]} x {image.shape[0]}", f"{self._info.width} x {self._info.height}"
            raise UsageError(f"source '{name}': picture {index} must be {wanted} like the first, got {size}; resize it")
        if not self._stay:
            picture = ArrayPicture(image.copy())
        return Frame(stream=self._info, index=index, pts=pts, time_base=_TICK if self._timed else 1 / self._rate, picture=picture)


class _Finder:
    """Turns what the user named into what can be opened."""

    def __init__(
        self, *, start_seconds: float, end_seconds: float | None, reconnects: bool, threads: int, find: FindSource | None
    ) -> None:
        video = partial(VideoSource, end_seconds=end_seconds, sender_ends=not reconnects, threads=threads)
        self._live = partial(video, live=True)
        self._recorded = partial(video, start_seconds=start_seconds)
        self._find = find

    def resolve(self, what: object) -> Iterator[_Found]:
        if isinstance(what, int) and not isinstance(what, bool):
            yield self._camera(what)
        elif isinstance(what, Path):
            with _system_errors(str(what)):
                yield from self._path(what)
        elif isinstance(what, str):
            with _system_errors(what):
                yield from self._text(what)
        elif isinstance(what, SourceSpec):
            yield _Found(what.name, lambda name: _named(what.open(), name), what.live, what.location, what.reopens)
        elif _is_source(what):
            try:
                info = returned.info(what)
            except ValueError as error:
                raise UsageError(f"a source cannot be {what!r}: it {error}") from error
            yield _Found(info.name, partial(_named, what), info.live, info.location, reopens=False)
        elif isinstance(what, Iterable) and not isinstance(what, (bytes, bytearray, IOBase)):
            yield from self._several(what)
        else:
            raise UsageError(f"a source cannot be {what!r}; name a file, folder, address or camera, or give pictures")

    def _several(self, items: Iterable[object]) -> Iterator[_Found]:
        iterator = iter(items)
        head = list(islice(iterator, 1))
        if head and isinstance(head[0], Frame):
            raise UsageError("frames alone are no source: give a Source, which has `info` and close() besides, or give pictures")
        if head and _is_picture(head[0]):
            images = items if isinstance(items, Sized) else _with_head(head, iterator)
            yield _Found("arrays", lambda name: ArraySource(images, name=name), reopens=False)  # type: ignore[arg-type]  # it checks each
            return
        for item in chain(head, iterator):
            yield from self.resolve(item)

    def _text(self, text: str) -> Iterator[_Found]:
        if not text:
            raise UsageError("a source is empty text; name a file, folder, address or camera")
        scheme, mark, address = text.partition("://")
        path = Path(text) if mark else expand_home(text)
        if mark and scheme == "file":
            yield from self._path(Path(address if Path(address).exists() else url2pathname(address)))
        elif mark:
            yield self._address(text, scheme.lower(), address)
        elif text.isdecimal() and not path.exists():
            yield self._camera(int(text))
        elif has_magic(text) and not path.exists():
            yield from self._glob(str(path))
        else:
            yield from self._path(path)

    def _path(self, path: Path) -> Iterator[_Found]:
        if path.is_dir():
            media = _natural(file for file in path.iterdir() if file.is_file() and _is_media(file))
            if not media:
                raise SourceNotFoundError(
                    f"folder {path} holds no video and no image (such as .mp4, .mkv, .jpg); name another one"
                )
            yield from map(self._file, media)
        elif path.is_char_device() and sys.platform == "linux":
            yield _Found(path.name, lambda name: self._live(path, name=name, device_format="v4l2"), True, str(path))
        elif path.exists():
            yield self._file(path)
        elif path.is_symlink():
            raise SourceNotFoundError(
                f"{path} is a link to {path.readlink()}, which is not there; give a file, a folder or an address"
            )
        else:
            near = path.parent.iterdir() if path.parent.is_dir() else ()
            beside = [each.name for each in near if each.is_dir() or _is_media(each)]
            raise SourceNotFoundError(
                f"{path} does not exist; give a file, a folder or an address{did_you_mean(path.name, beside)}"
            )

    def _file(self, path: Path) -> _Found:
        there = path.absolute()  # the program may change its folder before this one's turn
        return _Found(path.stem, lambda name: self._recorded(there, name=name), location=public_location(path))

    def _glob(self, pattern: str) -> Iterator[_Found]:
        matches = glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
        files = _natural(path for path in map(Path, matches) if path.is_file())
        if not files:
            raise SourceNotFoundError(f"no file matches {pattern}; check the pattern")
        yield from map(self._file, [path for path in files if _is_media(path)] or files)

    def _address(self, text: str, scheme: str, address: str) -> _Found:
        try:
            parts = urlsplit(text)
        except ValueError as error:  # such as a bracket that is not closed
            raise UsageError(f"the address '{public_location(text)}' cannot be read: {error}") from error
        name = f"{parts.hostname or ''}{parts.path}".removesuffix("/")  # without a password that stands before the host
        make = self._find(scheme, address) if self._find else None
        if make is not None:
            return _Found(name, lambda name: _named(make(), name))
        if has_cut_password(text):
            raise UsageError(f"the address {scheme}://… has a password that / ? or # cuts: write them as %2F %3F %23")
        if scheme in LIVE_SCHEMES:
            return _Found(name, lambda name: self._live(text, name=name), live=True, location=public_location(text))
        if scheme in RECORDED_SCHEMES:
            return _Found(name, lambda name: self._recorded(text, name=name), location=public_location(text))
        known = sorted(LIVE_SCHEMES | RECORDED_SCHEMES)
        raise SourceNotFoundError(
            f"nothing opens addresses that begin with {scheme}://; there are {', '.join(known)}, and what source plugins "
            f"add{did_you_mean(scheme, known)}"
        )

    def _camera(self, number: int) -> _Found:
        if sys.platform not in _CAMERAS or number < 0:
            raise SourceNotFoundError(f"there is no camera {number} on {sys.platform}; give the address of a network camera")
        pattern, driver = _CAMERAS[sys.platform]
        device = pattern.format(number)
        if device.startswith("/dev") and not Path(device).exists():
            there = ", ".join(map(str, _natural(Path("/dev").glob("video*")))) or "none"
            raise SourceNotFoundError(f"there is no camera {number} ({device}); connected are: {there}")
        return _Found(f"camera-{number}", lambda name: self._live(device, name=name, device_format=driver), True, device)


class _Renamed:
    """A source under another name than its own."""

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self.info = replace(source.info, name=name)

    @property
    def damaged(self) -> int:
        return self._source.damaged if keeps(self._source, DamageReporter) else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._source.warnings if keeps(self._source, DamageReporter) else ()

    def __iter__(self) -> Iterator[Frame]:
        for frame in returned.frames(self._source):
            yield replace(frame, stream=self.info)

    def close(self) -> None:
        self._source.close()


def _with_head(head: list[object], iterator: Iterator[object]) -> Generator[object]:
    """Go through an iterator from which the head was taken, and close it at the end where it is a generator."""
    try:
        yield from head
        yield from iterator
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


def _named(source: Source, name: str) -> Source:
    return source if returned.info(source).name == name else _Renamed(source, name)


def _is_source(what: object) -> TypeGuard[Source]:
    try:
        return keeps(what, Source)
    except Exception:  # of its `info`, which is read
        return True


def _picture(name: str, index: int, image: Image) -> ArrayPicture:
    try:
        return ArrayPicture(image)
    except UsageError as error:
        raise UsageError(f"source '{name}', picture {index}: {error}") from error


def _is_picture(item: object) -> bool:
    """Tell a picture, also one with its time, from all else that a list may begin with."""
    return isinstance(item[1] if isinstance(item, tuple) and len(item) == 2 else item, np.ndarray)


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith(".")


def _natural(paths: Iterable[Path]) -> list[Path]:
    """Sort so that clip-9 comes before clip-10."""

    def parts(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if i % 2 else (0, part.casefold()) for i, part in enumerate(re.split(r"(\d+)", str(path)))]

    return sorted(paths, key=parts)


@contextmanager
def _system_errors(source: str) -> Iterator[None]:
    try:
        yield
    except SourceNotFoundError:
        raise
    except OSError as error:
        raise SourceError(f"{source} cannot be read: {error.strerror or error}; check the name and its permissions") from error


def _unique(wanted: str, taken: set[str]) -> str:
    """Make a name that is fit for a folder, and unlike those taken also where case and accents do not count."""
    # Bytes of a path that are no text come as \ud800 to \udfff, which can be neither written nor shown.
    safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]+', "-", unicodedata.normalize("NFC", wanted)).strip(". -")
    if not safe or _DEVICE_NAMES.fullmatch(safe):
        safe = f"stream-{safe}" if safe else "stream"
    name, number = _shortened(safe), 1
    while name.casefold() in taken:
        number += 1
        name = _shortened(safe, f"-{number}")
    taken.add(name.casefold())
    return name


def _shortened(name: str, suffix: str = "") -> str:
    """Cut a name so that it stays within a name's length, the suffix included."""
    cut = name[: _NAME_LENGTH - len(suffix)]
    while len(os.fsencode(cut)) > _NAME_BYTES - len(suffix):
        cut = cut[:-1]
    return cut.rstrip(". ") + suffix
