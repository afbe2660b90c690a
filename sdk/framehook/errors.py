"""Every error that framehook raises on purpose.

    FramehookError
    ├── UsageError (ValueError)             what was asked for cannot be meant
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── PluginNotFoundError (LookupError)
    │   ├── DuplicatePluginError
    │   ├── OptionError
    │   ├── ConfigError
    │   ├── DeviceError
    │   └── OutputError (OSError)           the place to write to cannot be written, or is full
    └── RunError (RuntimeError)             the work was begun and could not be finished
        ├── SourceError (OSError)           a source cannot be opened or decoded
        ├── ModelError                      a weights file is damaged or lacks a field
        └── StageError                      a plugin raised: names plugin, stream and frame

The command line answers a `RunError` with exit status 1, and a `UsageError` with 2 as long as nothing was begun: whatever ends
work that was begun, such as a disk that is full, gives 1. Every message is one line that says what was got, what was wanted, and
what to do.
"""

import difflib
from collections.abc import Iterable


class FramehookError(Exception):
    """The root: catches whatever framehook raises on purpose."""

    def __str__(self) -> str:
        # OSError and LookupError format their arguments in their own ways: ours are one line of text.
        return str(self.args[0]) if self.args else ""


class UsageError(FramehookError, ValueError):
    """What was asked for cannot be meant. As a rule nothing was started."""


class SourceNotFoundError(UsageError, FileNotFoundError):
    """A source names no file, no folder with media in it, and no address."""


class PluginNotFoundError(UsageError, LookupError):
    """No plugin of this kind has that name."""


class DuplicatePluginError(UsageError):
    """Two distributions offer a plugin of the same kind and name."""


class OptionError(UsageError):
    """An option that the plugin does not have, or a value that it does not take."""


class ConfigError(UsageError):
    """A configuration file with unknown keys, values of the wrong kind, or no TOML in it."""


class DeviceError(UsageError):
    """A computing device that this machine does not have."""


class OutputError(UsageError, OSError):
    """A file or folder that cannot be written: told at the start where that shows then, else in the middle of the work."""


class RunError(FramehookError, RuntimeError):
    """The work was begun and could not be finished."""


class SourceError(RunError, OSError):
    """A source that cannot be opened or decoded."""


class ModelError(RunError):
    """A weights file that is damaged, or lacks what inference needs."""


class StageError(RunError):
    """A plugin raised while it worked on a frame; the original error is the cause."""


def did_you_mean(got: str, allowed: Iterable[str]) -> str:
    """Say which of the allowed words is nearest to `got`, as `; did you mean 'x'?`, or nothing."""
    nearest = difflib.get_close_matches(got, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
