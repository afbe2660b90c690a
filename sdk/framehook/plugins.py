"""Finding plugins, and making stages of them by name.

There is no global registry: `load_plugins()` builds one `Plugins` each time, from the entry points of the group `framehook`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import metadata
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

import pluggy

from framehook import hookspecs
from framehook.errors import (
    DuplicatePluginError,
    FramehookError,
    PluginNotFoundError,
    StageError,
    UsageError,
    did_you_mean,
)
from framehook.options import Spec, check_options, options_of, parse_spec

Kind: TypeAlias = Literal["source", "detector", "tracker", "classifier", "analyzer", "sink"]
_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII)

KINDS: tuple[Kind, ...] = ("source", "detector", "tracker", "classifier", "analyzer", "sink")


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin on offer."""

    kind: Kind
    """What it can be used as."""
    name: str
    """What it is asked for by."""
    distribution: str
    """The installed package that it comes from."""
    version: str
    """That package's version."""
    factory: Callable[..., Any]
    """The class; its keyword parameters are the options."""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.factory.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point that could not be loaded, or a hook in it that failed."""

    entry_point: str
    """Its name in the group `framehook`."""
    distribution: str
    """The installed package that it comes from."""
    reason: str
    """What went wrong, in one line."""


class Plugins:
    """The plugins on offer, by kind and name.

    Args:
        ask: returns what is on offer, and what is broken. It is called when somebody first wants to know: `framehook --help` is
            not to wait for the modules that the plugins' classes are in.
        manager: pluggy's, for the hooks that are called while running.
    """

    def __init__(self, ask: Callable[[], tuple[list[Plugin], list[BrokenPlugin]]], manager: pluggy.PluginManager) -> None:
        self._ask = ask
        self.manager = manager

    @property
    def offered(self) -> tuple[Plugin, ...]:
        """Those that work, by kind, name and distribution."""
        return self._answer[0]

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Those that do not, with the reasons."""
        return self._answer[1]

    @cached_property
    def _answer(self) -> tuple[tuple[Plugin, ...], tuple[BrokenPlugin, ...]]:
        offered, broken = self._ask()
        return tuple(sorted(offered, key=lambda p: (KINDS.index(p.kind), p.name, p.distribution))), tuple(broken)

    def of_kind(self, kind: Kind) -> tuple[Plugin, ...]:
        """Return the plugins of one kind, by name."""
        return tuple(plugin for plugin in self.offered if plugin.kind == kind)

    def find(self, kind: Kind, name: str) -> Plugin:
        """Return the plugin of that name, or of `distribution/name`.

        Raises:
            PluginNotFoundError: there is none; says which there are, and which is nearest.
            DuplicatePluginError: several distributions offer it.
        """
        of_kind = self.of_kind(kind)
        distribution, _, short = name.rpartition("/")
        found = [p for p in of_kind if p.name == short and distribution in ("", p.distribution)]
        if not found:
            names = sorted({plugin.name for plugin in of_kind})
            broken = "".join(
                f"; '{one.distribution}/{one.entry_point}' is installed but broken: {one.reason}" for one in self.broken
            )
            raise PluginNotFoundError(
                f"no {kind} is named '{name}'{did_you_mean(name, names)} (there are: {', '.join(names) or 'none'}){broken}"
            )
        if len(found) > 1:
            ways = " or ".join(f"'{p.distribution}/{p.name}'" for p in found)
            both = " and ".join(f"'{p.distribution}'" for p in found)
            raise DuplicatePluginError(f"the {kind} '{short}' is offered by {both}: say {ways}")
        return found[0]

    def maker(self, kind: Kind, spec: Spec, *, shared: Mapping[str, Any] | None = None) -> Callable[[], Any]:
        """Check a plugin and its options now, and return what makes the object later, as often as it is called.

        Args:
            kind: what it is to be used as.
            spec: the plugin and its options.
            shared: options that it gets where it declares them and `spec` does not set them, such as the device.

        Raises:
            UsageError: an unknown plugin or option, or a bad value.
        """
        name, given = parse_spec(spec)
        plugin = self.find(kind, name)
        declared = {option.name for option in options_of(plugin.factory)}
        extra = {key: value for key, value in (shared or {}).items() if key in declared and key not in given}
        options = check_options(f"plugin '{name}'", plugin.factory, {**extra, **given})

        return partial(made, name, partial(plugin.factory, **options))


def made(name: str, factory: Callable[[], Any]) -> Any:
    """Return what a plugin's class makes.

    Raises:
        StageError: it raised; the error names the plugin.
    """
    try:
        return factory()
    except FramehookError:
        raise
    except Exception as error:
        raise StageError(f"plugin '{name}' could not be made: {type(error).__name__}: {error}") from error


def load_plugins(*, extra: Iterable[object] = ()) -> Plugins:
    """Find all installed plugins, each in its own try.

    Args:
        extra: modules or objects with hook implementations, besides the installed ones; one that is installed, too, counts once.

    Raises:
        UsageError: `extra` is no list, or holds a name.
    """
    if isinstance(extra, (str, ModuleType)) or not isinstance(extra, Iterable):
        raise UsageError(f"extra must be a list of modules or objects with hooks, got {extra!r}")
    extra = list(extra)
    if names := [given for given in extra if isinstance(given, str)]:
        raise UsageError(f"extra must be a list of modules or objects with hooks, got the name {names[0]!r}: import it")
    manager = pluggy.PluginManager("framehook")
    manager.add_hookspecs(hookspecs)
    loaded: list[_Loaded] = []
    broken: list[BrokenPlugin] = []
    for name, distribution, version, load in _candidates(extra):
        with _catching(broken, name, distribution):
            module = load()
            if any(module is one.module for one in loaded):  # found in two ways, such as installed and in `extra`
                continue
            _refuse_unknown_hooks(manager, module)
            if manager.has_plugin(full_name := f"{distribution}/{name}"):
                raise ValueError(f"there is another plugin '{full_name}' already, with hooks of its own: give one of them")
            manager.register(module, name=full_name)
            loaded.append(_Loaded(module, name, distribution, version))

    def ask() -> tuple[list[Plugin], list[BrokenPlugin]]:
        offered: list[Plugin] = []
        for one in loaded:
            with _catching(broken, one.name, one.distribution):
                offered += _offered_by(manager, one)
        return offered, broken

    return Plugins(ask, manager)


class _Loaded(NamedTuple):
    """An entry point's module, whose hooks are registered."""

    module: object
    name: str
    distribution: str
    version: str


@contextmanager
def _catching(broken: list[BrokenPlugin], name: str, distribution: str) -> Iterator[None]:
    """Note what goes wrong with a plugin, and go on: whatever a stranger's code does must not end ours."""
    try:
        yield
    except (Exception, SystemExit) as error:
        broken.append(BrokenPlugin(name, distribution, f"{type(error).__name__}: {_one_line(error)}"))


def _candidates(extra: Iterable[object]) -> Iterable[tuple[str, str, str, Callable[[], object]]]:
    seen = set()
    for entry in metadata.entry_points(group="framehook"):
        distribution = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else ""
        # An editable install may be found twice on the path: it is one plugin all the same.
        if (entry.name, distribution) not in seen:
            seen.add((entry.name, distribution))
            yield entry.name, distribution, version, entry.load
    for plugin in extra:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        yield name, name, "", lambda plugin=plugin: plugin  # type: ignore[misc]  # the default binds this turn's value


def _offered_by(manager: pluggy.PluginManager, plugin: _Loaded) -> list[Plugin]:
    """Collect what one plugin offers; leave no trace of it where that fails."""
    offered: list[Plugin] = []
    try:
        for kind in KINDS:
            caller = getattr(manager.hook, f"framehook_register_{kind}s")
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin.module:
                    implementation.function(_registrar(kind, plugin.distribution, plugin.version, offered))
    except BaseException:
        manager.unregister(plugin.module)
        raise
    return offered


def _registrar(kind: Kind, distribution: str, version: str, offered: list[Plugin]) -> hookspecs.Register:
    def register(name: str, factory: Callable[..., Any]) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"a {kind} is registered as {name!r}: a name is letters, digits, and . _ - between them")
        if kind == "source" and name != name.lower():
            raise ValueError(f"a source is registered as {name!r}: schemes of addresses have no capitals")
        if not callable(factory):
            raise TypeError(f"register('{name}', …) wants a class, got {factory!r}")
        if any((plugin.kind, plugin.name) == (kind, name) for plugin in offered):
            raise ValueError(f"the {kind} '{name}' is registered twice")
        try:
            options = options_of(factory)
        except Exception as error:  # such as an annotation that names what is imported for type checkers only
            raise TypeError(f"the options of the {kind} '{name}' cannot be read: {type(error).__name__}: {error}") from error
        if kind == "source" and all(option.name != "address" for option in options):
            raise TypeError(f"the source '{name}' needs an option `address`: what stands behind {name}://")
        offered.append(Plugin(kind, name, distribution, version, factory))

    return register


def _refuse_unknown_hooks(manager: pluggy.PluginManager, module: object) -> None:
    known = {name for name in dir(hookspecs) if name.startswith("framehook_")}
    for name in dir(module):
        if name.startswith("framehook_") and name not in known and manager.parse_hookimpl_opts(module, name) is not None:
            raise AttributeError(f"there is no hook '{name}'{did_you_mean(name, known)}")
        if name in known and callable(getattr(module, name)) and manager.parse_hookimpl_opts(module, name) is None:
            raise AttributeError(f"'{name}' is no hook yet: put @hookimpl above it (from framehook import hookimpl)")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"
