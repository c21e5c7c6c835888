from __future__ import annotations

import io

import pytest
from yt_dlp.networking.exceptions import TransportError

from mien.ingest.platforms.ytdlp.session import Meter, _Metered


class Drops(io.BytesIO):
    """A body that arrives byte by byte."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(1)


def test_all_bytes_are_counted() -> None:
    meter = Meter()
    body = _Metered(Drops(b"abc"), meter, patience_seconds=60)
    assert body.read(1000) == b"a", "what is there, instead of waiting for all"
    assert body.read() == b"bc"
    assert (meter.bytes, body.read(), body.closed) == (3, b"", False)


def test_slow_connection_is_given_up() -> None:
    meter = Meter()
    body = _Metered(Drops(bytes(10_000)), meter, patience_seconds=0.0)
    with pytest.raises(TransportError, match="only 1 bytes arrived"):
        body._watch(2.0, 1)
    assert isinstance(meter.failures[-1], TransportError)
    body._watch(2.0, 4096)


def test_a_failed_read_is_remembered() -> None:
    meter = Meter()
    body = _Metered(io.BytesIO(b"x"), meter, patience_seconds=60)
    body.close()
    with pytest.raises(ValueError, match="closed"):
        body.read(5)
    assert len(meter.failures) == 1
