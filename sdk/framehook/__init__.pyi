from . import geometry as geometry
from .addresses import expand_home
from .contracts import (
    AmendingSink,
    Analyzer,
    Classifier,
    Column,
    DamageReporter,
    Detector,
    Refiner,
    Sink,
    Source,
    StreamSink,
    Tracker,
)
from .detections import NO_TRACK, Detection, Detections, is_missing
from .errors import (
    ConfigError,
    DeviceError,
    DuplicatePluginError,
    FramehookError,
    ModelError,
    OptionError,
    OutputError,
    PluginNotFoundError,
    RunError,
    SourceError,
    SourceNotFoundError,
    StageError,
    UsageError,
    did_you_mean,
)
from .frame import Frame, Image, Picture, Planes, StreamInfo
from .hookspecs import Register, hookimpl
from .options import Option, check_options, options_of, parse_spec
from .pipeline import Pipeline, read_config
from .plugins import KINDS, BrokenPlugin, Plugin, Plugins, load_plugins
from .results import Event, FrameResult, StreamStatistics
from .run import Run
from .session import Session
from .sources import ArraySource, SourceSpec, open_sources
from .tracks import TrackLog, TrackSummary
from .video import ArrayPicture, VideoSource, VideoWriter

__all__ = [
    "KINDS",
    "NO_TRACK",
    "AmendingSink",
    "Analyzer",
    "ArrayPicture",
    "ArraySource",
    "BrokenPlugin",
    "Classifier",
    "Column",
    "ConfigError",
    "DamageReporter",
    "Detection",
    "Detections",
    "Detector",
    "DeviceError",
    "DuplicatePluginError",
    "Event",
    "Frame",
    "FrameResult",
    "FramehookError",
    "Image",
    "ModelError",
    "Option",
    "OptionError",
    "OutputError",
    "Picture",
    "Pipeline",
    "Planes",
    "Plugin",
    "PluginNotFoundError",
    "Plugins",
    "Refiner",
    "Register",
    "Run",
    "RunError",
    "Session",
    "Sink",
    "Source",
    "SourceError",
    "SourceNotFoundError",
    "SourceSpec",
    "StageError",
    "StreamInfo",
    "StreamSink",
    "StreamStatistics",
    "TrackLog",
    "TrackSummary",
    "Tracker",
    "UsageError",
    "VideoSource",
    "VideoWriter",
    "check_options",
    "did_you_mean",
    "expand_home",
    "geometry",
    "hookimpl",
    "is_missing",
    "load_plugins",
    "open_sources",
    "options_of",
    "parse_spec",
    "read_config",
]
