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
                packets = [packet for packet in reader.demux(source) if packet.size and packet.pts is not None]
            # Matroska knows no decoding times: packets come in that order, each early enough to be shown in its turn.
            shown = sorted(packet.pts for packet in packets)
            ahead = max(time - packet.pts for time, packet in zip(shown, packets, strict=True))
            length = max(packet.pts + (packet.duration or 0) for packet in packets) - shown[0]
            for time, packet in zip(shown, packets, strict=True):
                packet.pts += after - shown[0]
                packet.dts = time - ahead + after - shown[0]
                packet.stream = stream
                writer.mux(packet)
            after += length
    return out
