"""framehook: plugin-based video analytics.

Compose a `Pipeline`, run it over sources or push frames into a session, and read `FrameResult` records.
"""

from framehook import geometry
from framehook.contracts import (
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
from framehook.detections import NO_TRACK, Detection, Detections
from framehook.errors import (
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
from framehook.frame import Frame, Image, Picture, StreamInfo
from framehook.hookspecs import Register, hookimpl
from framehook.options import Option, check_options, options_of, parse_spec
from framehook.pipeline import Pipeline, read_config
from framehook.plugins import KINDS, BrokenPlugin, Plugin, Plugins, load_plugins
from framehook.results import Event, FrameResult, StreamStatistics
from framehook.run import Run
from framehook.session import Session
from framehook.sources import ArraySource, SourceSpec, open_sources
from framehook.tracks import TrackLog, TrackSummary
from framehook.video import VideoSource, VideoWriter

__all__ = [
    "KINDS",
    "NO_TRACK",
    "Analyzer",
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
    "geometry",
    "hookimpl",
    "load_plugins",
    "open_sources",
    "options_of",
    "parse_spec",
    "read_config",
]
