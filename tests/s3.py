"""A server that really speaks S3, on loopback: moto's, in a thread of this process.

from tests.s3 import s3_server  # the fixture

def test_something(s3_server, monkeypatch):
    s3_server.create_bucket("corpus")
    store = open_store("s3://corpus/shards", **s3_server.options)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET_KEY = "not-a-secret-of-anyone"  # noqa: S105
_TIMEOUT_SECONDS = 120.0
"""The server is a thread of this process, and may have much else to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    endpoint: str
    """http://127.0.0.1:port"""

    @property
    def options(self) -> dict[str, str]:
        """Keyword arguments of `open_store`."""
        return {
            "endpoint_override": self.endpoint,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "region": "us-east-1",
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process that is started."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def create_bucket(self, name: str) -> None:
        httpx.put(f"{self.endpoint}/{name}", trust_env=False, timeout=_TIMEOUT_SECONDS).raise_for_status()

    def keys(self, bucket: str) -> str:
        """The raw XML listing of a bucket, for assertions past our own code."""
        return self._listing(bucket)

    def uploads(self, bucket: str) -> str:
        """The raw XML listing of the multipart uploads begun and not completed."""
        return self._listing(f"{bucket}?uploads")

    def _listing(self, asked: str) -> str:
        answer = httpx.get(f"{self.endpoint}/{asked}", trust_env=False, timeout=_TIMEOUT_SECONDS)
        return answer.raise_for_status().text


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(endpoint=f"http://{host}:{port}")
    finally:
        server.stop()
