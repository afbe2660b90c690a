"""What a run reports: a result for every frame, statistics for every stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framehook.detections import NO_TRACK, Detections
from framehook.frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a moment: a line crossed, a camera lost."""

    kind: str
    """A short name, such as `line-crossed`."""
    seconds: float
    """When, in the stream's presentation time."""
    track: int = NO_TRACK
    """The track that it concerns, -1 for none."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else there is to say, in values that JSON can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """All that was found in one frame."""

    frame: Frame
    """The frame itself; its stream is `frame.stream`."""
    detections: Detections
    """What was found, with tracks and attributes."""
    events: tuple[Event, ...] = ()
    """What happened at this frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """How the run of one stream went."""

    stream: str
    """Name of the stream."""
    decoded: int = 0
    """Frames that came out of the source."""
    dropped: int = 0
    """Frames of a live stream that were thrown away unseen because newer ones had come."""
    processed: int = 0
    """Frames that went through all stages."""
    late: int = 0
    """Frames of a live stream whose result came to the sinks more than half a second after them."""
    damaged: int = 0
    """Packets or frames that the decoder could not read, and left out."""
    detections: int = 0
    """Boxes in all frames together."""
    tracks: int = 0
    """Different track ids in all frames together."""
    seconds: float = 0.0
    """Wall-clock time from the start of decoding, or of a session, to the end of the stream."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock time spent in each stage; stages overlap, and a batch's time is shared out by frames."""
    overhead: float | None = None
    """Of a stream that ran alone: `seconds` over the time that its busiest thread worked, 1 where all others hide behind it.

    None for a session, which has no threads.
    """
    interrupted: bool = False
    """True where the run was ended before the stream was."""
    warnings: tuple[str, ...] = ()
    """What was skipped, and what else a reader of the results should know."""
    error: str = ""
    """Why the stream ended before its end; empty where it did not."""
    lost_sinks: tuple[str, ...] = ()
    """Sinks that failed while the run went on without them: what they wrote is not whole."""
