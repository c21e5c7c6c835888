"""Makes films with one defect from an intact film."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import av


def corrupt_stream(whole: Path, path: Path, kind: str) -> Path:
    """Copies `whole`, and overwrites half the bytes of each packet in the middle of one stream."""
    data = bytearray(whole.read_bytes())
    rng = random.Random(7)
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(**{kind: 0}) if packet.size]
        for packet in packets[len(packets) // 3 : len(packets) // 2]:
            assert packet.pos is not None
            inside = range(packet.pos + 8, packet.pos + packet.size)
            for at in rng.sample(inside, len(inside) // 2):
                data[at] ^= rng.randrange(1, 256)
    path.write_bytes(data)
    return path


def extract_stream(kind: str, whole: Path, path: Path) -> Path:
    """Copies the packets of one stream to a new container, chosen by the extension of `path`."""
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream: Any = next(stream for stream in source.streams if stream.type == kind)
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    return path


def transcode_sound(whole: Path, path: Path, codec: str) -> Path:
    """Encodes the sound of `whole` with `codec`, in the container given by the extension of `path`."""
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=44_100, layout="mono")
        converter = av.AudioResampler(format=stream.format.name, layout="mono", rate=44_100)
        for frame in source.decode(audio=0):
            frame.pts = None
            for piece in converter.resample(frame):
                output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return path
