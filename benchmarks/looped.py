"""Longer clips: real ones, played over and over without being encoded anew."""

from pathlib import Path

import av


def loop(clip: Path, out: Path, *, times: int) -> Path:
    """Write the first video stream of a clip so many times in a row, and return where.

    Args:
        clip: an mp4 or mkv file.
        out: with the same ending.
        times: at least 1.
    """
    with av.open(str(out), "w") as writer:
        after = 0
        stream = None
        for _ in range(times):
            with av.open(str(clip)) as reader:
                source = reader.streams.best("video")
                assert source is not None
                stream = stream or writer.add_stream_from_template(source)
                packets = [packet for packet in reader.demux(source) if packet.pts is not None and packet.dts is not None]
            first = min(packet.pts for packet in packets)
            ends = [packet.pts + (packet.duration or 0) for packet in packets]
            for packet in packets:
                packet.pts += after - first
                packet.dts += after - first
                packet.stream = stream
                writer.mux(packet)
            after += max(ends) - first
    return out
