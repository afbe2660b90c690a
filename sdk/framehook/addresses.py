"""Where things are: addresses of streams, `scheme://…`, with what of one may be shown; and paths from somebody's home folder."""

import re
from pathlib import Path

from framehook.errors import UsageError

LIVE_SCHEMES = frozenset({"rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
"""Those whose frames come whether or not anybody is ready."""

RECORDED_SCHEMES = frozenset({"ftp", "http", "https"})
"""Those behind which a recording may lie, or a stream that states no length."""

ENDED_BY_SENDER = RECORDED_SCHEMES | {"pipe", "tcp"}
"""Those where a connection that is closed may be the end of a stream."""


def is_address(location: str) -> bool:
    """Tell an address from a path."""
    return "://" in location


def scheme_of(location: str) -> str:
    """Return what stands before `://`, in lower case; empty for a path."""
    return location.partition("://")[0].lower() if is_address(location) else ""


def shown(location: str) -> str:
    """Return a path as it is, or an address without user, password and query, which may hold a key."""
    if not is_address(location):
        return location
    return re.sub(r"//[^/?]*@", "//", location).partition("?")[0]  # a password may hold an @


def public_location(location: str | Path) -> str:
    """Return a file's absolute path, or what may be shown of an address."""
    text = str(location)
    return shown(text) if is_address(text) else str(Path(text).absolute())


def has_cut_password(address: str) -> bool:
    """Say whether what seems to be the port is no number, and an @ comes after it: then it was the beginning of a password."""
    authority, *after = re.split(r"[/?#]", address.partition("://")[2], maxsplit=1)
    _, colon, port = authority.rpartition(":")
    is_port = not port or port.isdecimal() or authority.endswith("]")  # of IPv6, which has colons of its own
    return bool(colon) and "@" not in authority and not is_port and any("@" in rest for rest in after)


def expand_home(path: str | Path) -> Path:
    """Return a path with the folder that `~` or `~somebody` stands for, unless something is called so.

    Raises:
        UsageError: nobody knows which folder that is.
    """
    path = Path(path)
    if not path.parts or not path.parts[0].startswith("~") or _is_there(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"'{path}': no home folder is known for '{path.parts[0]}'; write the whole path") from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:  # such as a name that is too long
        return False
