"""Where results go: the sinks `csv`, `jsonl`, `json`, `tracks`, `video` and `summary`."""

from framehook import Register, hookimpl


@hookimpl
def framehook_register_sinks(register: Register) -> None:
    """Offer the sinks."""
    from framehook_plugins.sinks.detections_csv import CsvSink
    from framehook_plugins.sinks.detections_json import JsonLinesSink, JsonSink
    from framehook_plugins.sinks.summary import SummarySink
    from framehook_plugins.sinks.tracks_csv import TracksSink
    from framehook_plugins.sinks.video import VideoSink

    register("csv", CsvSink)
    register("jsonl", JsonLinesSink)
    register("json", JsonSink)
    register("tracks", TracksSink)
    register("video", VideoSink)
    register("summary", SummarySink)
