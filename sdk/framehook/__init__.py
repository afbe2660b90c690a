"""framehook: plugin-based video analytics."""

from framehook import geometry
from framehook.contracts import Analyzer, Classifier, Column, Detector, Refiner, Sink, Source, StreamSink, Tracker
from framehook.detections import NO_TRACK, Detection, Detections
from framehook.errors import *  # noqa: F403
from framehook.frame import Frame, Image, Picture, StreamInfo
from framehook.hookspecs import Register, hookimpl
from framehook.results import Event, FrameResult, StreamStatistics
