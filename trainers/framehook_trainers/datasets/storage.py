"""Files wherever they lie: on this machine, or in an object store that fsspec reaches (`s3://bucket/folder`).

A location is a path or a URL. This is the only file that knows fsspec, and it is imported for URLs only.
"""

import errno
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import quote, unquote

from framehook import SourceError, SourceNotFoundError, UsageError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def is_url(location: str) -> bool:
    """Say whether it names something that fsspec must fetch."""
    return "://" in location


def join(folder: str, path: str) -> str:
    """Return where a path within a folder is; a URL stands for itself, and so does an absolute path in a folder of this machine.

    To an object store `..` is a name like any other, so it is resolved here, where that leads to no other bucket. On the web
    `#`, `?` and `%` mean something else than themselves, so they are quoted.
    """
    if is_url(path):
        return path
    if not is_url(folder):
        return str(Path(folder) / path)
    if _is_web(folder):
        path = quote(path, errors="surrogateescape")
    whole = f"{folder.rstrip('/')}/{path.lstrip('/')}"
    if not {".", ".."} & set(path.split("/")):
        return whole
    scheme, _, place = folder.partition("://")
    bucket, _, inside = place.partition("/")
    resolved = normpath(f"{inside}/{path}".lstrip("/"))
    return whole if resolved.startswith("..") else f"{scheme}://{bucket}/{resolved}"


def _is_web(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def parent(location: str) -> str:
    """Return the folder that a file lies in."""
    return location.rpartition("/")[0] if is_url(location) else str(Path(location).parent)


def name_of(location: str) -> str:
    """Return the last part of a location."""
    return location.rstrip("/").rpartition("/")[2] if is_url(location) else Path(location).name


def list_files(folder: str) -> list[str]:
    """Return the paths of all files below a folder, relative to it with `/` between their parts, sorted.

    Raises:
        SourceNotFoundError: no such folder.
    """
    if not is_url(folder):
        top = Path(folder)
        if top.is_file():
            raise UsageError(f"'{folder}' is a file; name a folder, an uncompressed tar archive (.tar), or a URL of one")
        if not top.is_dir():
            raise SourceNotFoundError(f"'{folder}' is not there; name a folder, a tar archive, or a URL of one")
        with _source_errors(folder):
            return sorted(path.relative_to(top).as_posix() for path in _files_below(top))
    with _source_errors(folder):
        files, path = _remote(folder)
        found = _find(files, path)
    if not found:
        raise SourceNotFoundError(f"nothing lies below '{folder}'; check the bucket, the path and the credentials")
    names = (name.removeprefix(path.rstrip("/")).lstrip("/") for name in found)
    # A name that ends in `/` is no file: consoles mark empty folders of a bucket so.
    return sorted(
        unquote(name, errors="surrogateescape") if _is_web(folder) else name for name in names if name and not name.endswith("/")
    )


def _find(files: Any, path: str) -> list[str]:
    """Return the files below a folder of a file system. Where that goes through the folders, fsspec passes over what fails."""
    from fsspec.asyn import AsyncFileSystem
    from fsspec.spec import AbstractFileSystem

    own = type(files)
    walks = AsyncFileSystem._find if issubclass(own, AsyncFileSystem) else AbstractFileSystem.find
    if getattr(own, walks.__name__) is not walks:  # as of object stores, which list everything at once
        return [str(name) for name in files.find(path)]
    found = []
    folders = [path]
    seen = {path.rstrip("/")}
    while folders:
        for entry in files.ls(folders.pop(), detail=True):
            name = str(entry["name"]).rstrip("/")
            if entry["type"] != "directory":
                found.append(name)
            elif name not in seen:
                seen.add(name)
                folders.append(name)
    return found


def _files_below(top: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, also behind links: each folder once, by whichever way comes first."""
    seen = {top.resolve()}
    for folder, subfolders, names in os.walk(top, followlinks=True, onerror=_raise):
        yield from (path for name in names if (path := Path(folder, name)).is_file())
        places = {Path(folder, name).resolve(): name for name in sorted(subfolders, reverse=True)}  # of two links the first
        subfolders[:] = sorted(name for place, name in places.items() if place not in seen)
        seen |= places.keys()


def _raise(error: OSError) -> None:
    raise error


def read_bytes(location: str, *, start: int = 0, end: int | None = None) -> bytes:
    """Return a file's bytes, or those from `start` up to `end`.

    Raises:
        SourceNotFoundError: no such file.
        SourceError: it cannot be read, or has not as many bytes.
    """
    with _source_errors(location):
        if is_url(location):
            files, path = _remote(location)
            data = cast(bytes, files.cat_file(path, start=start or None, end=end))
        else:
            with Path(location).open("rb") as file:
                file.seek(start)
                data = file.read() if end is None else file.read(end - start)
    if end is not None and len(data) != end - start:
        raise SourceError(
            f"'{location}' gave {len(data)} bytes, want {end - start} from byte {start} on: it was changed, or its server knows "
            "no ranges; copy it to this machine"
        )
    return data


class Picture(NamedTuple):
    """A file that is there, and how to read it."""

    name: str
    """Its path within the folder or the archive."""
    read: Callable[[], bytes]
    """Returns its bytes."""


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads a whole file."""

    location: str
    """Which."""

    def __call__(self) -> bytes:
        """Return its bytes; a folder is no picture, so none is there."""
        try:
            return read_bytes(self.location)
        except SourceError as error:
            if isinstance(error.__cause__, IsADirectoryError):
                raise SourceNotFoundError(str(error)) from error
            raise


@dataclass(frozen=True, slots=True)
class SliceReader:
    """Reads a part of a file, such as a member of an uncompressed archive."""

    location: str
    """Which file."""
    start: int
    """The first byte."""
    end: int
    """The byte after the last."""

    def __call__(self) -> bytes:
        """Return the part's bytes."""
        return read_bytes(self.location, start=self.start, end=self.end)


def find_pictures(location: str, *, of: str) -> list[Picture]:
    """Return what a tar archive or a folder holds, sorted by shard and file, without reading any of it.

    In a folder these are, of the first kind that is there: the members of the tar shards that bear the set's name, the picture
    files with all files beside them, the members of all tar shards.

    Args:
        location: an uncompressed tar archive, or a folder.
        of: a part of the shards' names.

    Raises:
        SourceNotFoundError: there is neither.
    """
    if location.endswith(".tar"):
        return list(_members(location))
    files = list_files(location)
    tars = [name for name in files if name.endswith(".tar")]
    named = [name for name in tars if of in name.rpartition("/")[2].lower()]
    if not named and any(name.lower().endswith(PICTURES) for name in files):
        return [Picture(name, FileReader(join(location, name))) for name in files if name not in tars]
    if not tars:
        raise SourceNotFoundError(f"no picture and no tar shard of {of} in '{location}'; name the folder that holds them")
    return [picture for name in named or tars for picture in _members(join(location, name))]


def _members(archive: str) -> Iterator[Picture]:
    """Yield the files of an archive: only its headers are read."""
    places: dict[str, SliceReader] = {}
    with _source_errors(archive), _open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            name = normpath(member.name)  # `tar cf shard.tar .` writes ./1.jpg
            if member.isreg():
                places[name] = SliceReader(archive, member.offset_data, member.offset_data + member.size)
            elif member.islnk() and normpath(member.linkname) in places:  # the same bytes under a second name
                places[name] = places[normpath(member.linkname)]
            else:
                continue
            yield Picture(name, places[name])
        stream.seek(tar.offset)
        if len(stream.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise SourceError(f"'{archive}' is cut short after {len(places)} files: it has no end; copy it again")


def _open(location: str) -> BinaryIO:
    if not is_url(location):
        return Path(location).open("rb")
    files, path = _remote(location)
    return cast(BinaryIO, io.BufferedReader(files.open(path, "rb")))


def _remote(location: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(f"reading '{location}' needs fsspec: pip install 'framehook[train]'") from error
    try:
        files, path = fsspec.core.url_to_fs(location)
    except ImportError as error:
        raise UsageError(
            f"reading '{location}' needs another package: {error} (framehook[train] brings that of s3://)"
        ) from error
    except ValueError as error:
        raise UsageError(f"'{location}' cannot be reached: {error}; name a path, or a URL such as s3://bucket/folder") from error
    return files, str(path)


@contextmanager
def _source_errors(location: str) -> Iterator[None]:
    """Turn what the operating system, tarfile or an object store's client raises into one line that names the place."""
    try:
        yield
    except (SourceError, UsageError):
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceNotFoundError(f"'{location}' is not there") from error
    except IsADirectoryError as error:
        raise SourceError(f"'{location}' is a folder; name the file in it") from error
    except tarfile.TarError as error:
        raise SourceError(f"'{location}' cannot be read as an uncompressed tar archive: {error}") from error
    except (OSError, ValueError) as error:
        if not is_url(location) and (getattr(error, "errno", None) == errno.ENAMETOOLONG or "\0" in location):
            raise SourceNotFoundError(f"{location!r} is not there, and no name that a file could have") from error
        raise SourceError(f"'{location}' cannot be read: {error}") from error
    except Exception as error:  # each store's client has errors of its own, such as missing credentials
        raise SourceError(f"'{location}' cannot be read: {error}") from error
