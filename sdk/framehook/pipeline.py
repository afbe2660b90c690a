"""What a user composes: stages by name or as objects, run over sources or pushed frame by frame."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, TypeAlias

from pydantic import Field

from framehook.addresses import expand_home
from framehook.contracts import Analyzer, Classifier, Detector, Sink, Source, Tracker
from framehook.delivery import Delivery, OnError, hook_sinks
from framehook.engine import Engine
from framehook.errors import ConfigError, OptionError, UsageError, did_you_mean
from framehook.options import Spec, check_options, options_of, parse_spec
from framehook.plugins import Plugins, load_plugins
from framehook.run import Run
from framehook.selection import Selection
from framehook.session import Session
from framehook.sources import SourcesLike, SourceSpec, open_sources
from framehook.stages import StageMaker, Stages, check_columns

AtLeastOne: TypeAlias = Annotated[int, Field(ge=1)]


class Pipeline:
    """Stages put together: a detector, a tracker, classifiers, analyzers and sinks.

    A stage is a plugin's name, `name:key=value,…`, a mapping with `name` and options, a class, or an object that keeps the
    Protocol. The pipeline can be run again and again; its detector and classifiers load their models once, when first needed.

    Args:
        detector: finds things.
        tracker: follows them; None leaves every track at -1.
        classifiers: say more of what was found.
        analyzers: see every result in order, and may add attributes and events.
        sinks: take results somewhere.
        device: `auto`, `cpu` or `cuda`, for every plugin that has an option `device`.
        out: the folder under which sinks write their relative paths.
        batch: frames that are detected on at once, at most; those of files bring along the frames between.
        decode_threads: for each recording; several decode a large one faster, where a GPU would wait for it, but next to damage
            up to that many good frames are lost.
        detect_every: detect on every n-th frame, and follow in between; None chooses by the time between frames where the
            detector is a `Refiner`, more often where new things turn up and in live streams, else detects on every frame.
        classify_every: frames between two looks at a face that is known; None looks every 0.8 s of the stream's time.
        start: seconds; earlier frames are passed over. Of live streams it counts from the first frame, as `end` does.
        end: seconds; where the analysis stops; None for the end.
        every: analyse every n-th frame.
        fps: analyse at most so many frames a second of the stream's time.
        reconnect: seconds after which a live source that was lost is opened again, and again until it is back, its first result
            with an event `camera-lost`; None ends it with an error.
        on_error: what a failing sink does: `raise` ends the run, `isolate` goes on without it.
        plugins: where names are looked up; None for what is installed.

    Raises:
        UsageError: an unknown plugin or option, a bad value, a device that is not there, one column of two classifiers.
    """

    def __init__(
        self,
        *,
        detector: Spec | Detector | type = "mtcnn",
        tracker: Spec | Tracker | type | None = "iou",
        classifiers: Sequence[Spec | Classifier | type] = ("age-gender",),
        analyzers: Sequence[Spec | Analyzer | type] = (),
        sinks: Sequence[Spec | Sink | type] = (),
        device: Literal["auto", "cpu", "cuda"] = "auto",
        out: str | Path = Path(),
        batch: AtLeastOne = 4,
        decode_threads: AtLeastOne = 1,
        detect_every: AtLeastOne | None = None,
        classify_every: AtLeastOne | None = None,
        start: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        end: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        every: AtLeastOne = 1,
        fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        reconnect: Annotated[float, Field(gt=0, le=86_400)] | None = None,
        on_error: Literal["raise", "isolate"] = "raise",
        plugins: Plugins | None = None,
    ) -> None:
        tracker = None if tracker == "none" else tracker  # as text, which is all that the command line has
        classifiers = () if list(_several("classifiers", classifiers)) == ["none"] else classifiers
        scalars = {
            "device": device, "out": out, "batch": batch, "decode_threads": decode_threads,
            "detect_every": detect_every, "classify_every": classify_every,
            "start": start, "end": end, "every": every, "fps": fps, "reconnect": reconnect, "on_error": on_error,
        }  # fmt: skip
        checked = check_options("the pipeline", Pipeline, scalars)
        checked["out"] = expand_home(checked["out"])
        if checked["end"] is not None and checked["end"] <= checked["start"]:
            raise OptionError(f"the pipeline: end must lie after start, got start {start} and end {end}")
        stages = {"detector": detector, "tracker": tracker, "classifiers": classifiers, "analyzers": analyzers, "sinks": sinks}
        self.settings: Mapping[str, Any] = {key: _in_words(value) for key, value in {**stages, **checked}.items()}
        """The settings in effect, in values that JSON can carry."""
        self._plugins = plugins or load_plugins()
        self._batch: int = checked["batch"]
        self._decode_threads: int = checked["decode_threads"]
        self._on_error: OnError = checked["on_error"]
        self._reconnect: float | None = checked["reconnect"]
        self._selection = Selection(
            start_seconds=checked["start"], end_seconds=checked["end"], every=checked["every"], fps=checked["fps"]
        )
        out = checked["out"].absolute()  # the program may change its folder in the middle of a run
        maker = StageMaker(self._plugins, {"device": device, "out": out, "settings": dict(self.settings)})
        self._make_sinks = [(_name(sink), maker.maker("sink", sink)) for sink in _several("sinks", sinks)]
        self._stages = Stages(
            detector=maker.maker("detector", detector)(),
            make_tracker=None if tracker is None else maker.maker("tracker", tracker),
            classifiers=[maker.maker("classifier", given)() for given in _several("classifiers", classifiers)],
            make_analyzers=[maker.maker("analyzer", given) for given in _several("analyzers", analyzers)],
            names=maker.names,
            detect_every=checked["detect_every"],
            classify_every=checked["classify_every"],
        )
        check_columns(self._stages)
        for make in self._stages.make_analyzers:
            make()  # a class that is no analyzer is told now, not in the middle of a run
        if self._stages.make_tracker is not None:
            self._stages.make_tracker()

    @classmethod
    def from_config(cls, path: str | Path, **overrides: Any) -> Self:
        """Make a pipeline from a TOML file whose keys are this class's parameters.

        Args:
            path: the file.
            overrides: parameters that win over the file's.

        Raises:
            ConfigError: no such file, no TOML, or a key that is not known.
        """
        return cls(**{**read_config(path), **overrides})

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Pipeline can be neither copied nor pickled: make it in the process that uses it, as by from_config()")

    def run(self, sources: SourcesLike) -> Run:
        """Analyse sources and return an iterator of results, in order within each stream.

        Args:
            sources: a file, folder, glob, URL, camera number, `Source`, iterable of arrays, or a list of these.

        Raises:
            SourceNotFoundError: something that is not there.
        """
        engine = Engine(
            self.open_sources(sources),
            stages=self._stages,
            delivery=self._delivery(),
            selection=self._selection,
            batch=self._batch,
            reconnect_seconds=self._reconnect,
        )
        return Run(engine)

    def open_sources(self, sources: SourcesLike) -> list[SourceSpec]:
        """Say which streams `run` would analyse, each with its name, without opening any."""
        return open_sources(
            sources,
            start_seconds=self._selection.start_seconds,
            end_seconds=self._selection.end_seconds,
            reconnects=self._reconnect is not None,
            threads=self._decode_threads,
            find=self._find_source,
        )

    def session(self, name: str = "session") -> Session:
        """Open a stream that the caller pushes frame by frame.

        All frames are analysed: `every`, `fps`, `start` and `end` are for runs. A sink given as an object is one for all
        sessions, and closed with the first of them: give its name or class instead.

        Args:
            name: the stream's. A session of a name that was there before begins its files anew.

        Raises:
            UsageError: the name is no text.
        """
        if not isinstance(name, str):
            raise UsageError(f"a session's name must be text, such as 'door camera', got {name!r}")
        return Session(name, stages=self._stages, delivery=self._delivery())

    def _delivery(self) -> Delivery:
        sinks: list[tuple[str, Sink]] = [(name, make()) for name, make in self._make_sinks]
        return Delivery([*sinks, *hook_sinks(self._plugins.manager)], on_error=self._on_error)

    def _find_source(self, scheme: str, address: str) -> Callable[[], Source] | None:
        """Return what opens `scheme://address`, where a plugin answers that scheme."""
        if all(plugin.name != scheme for plugin in self._plugins.of_kind("source")):
            return None
        return self._plugins.maker("source", {"name": scheme, "address": address})


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the pipeline's parameters from a TOML file.

    Raises:
        ConfigError: no such file, no TOML, or a key that is not known.
    """
    try:
        text = expand_home(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
        config = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration '{path}': {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"'{path}' is not TOML: {error}") from error
    known = [option.name for option in options_of(Pipeline) if option.name != "plugins"]
    for key in config:
        if key not in known:
            raise ConfigError(f"'{path}': unknown key '{key}'{did_you_mean(key, known)} (there are: {', '.join(known)})")
    return config


def _several(name: str, stages: Sequence[object]) -> Sequence[object]:
    if isinstance(stages, (str, Mapping)) or not isinstance(stages, Sequence):
        raise OptionError(f"the pipeline: {name} must be a list, got {stages!r}")
    return stages


def _name(stage: object) -> str:
    """Return what to call a stage in messages."""
    if isinstance(stage, (str, Mapping)):
        return parse_spec(stage)[0]
    return getattr(stage, "__name__", type(stage).__name__)


def _in_words(value: object) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _in_words(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_in_words(item) for item in value]
    return str(value) if isinstance(value, Path) else _name(value)
