"""A real S3 server on loopback: moto's, in a thread of this process.

from tests.s3 import s3_server  # the fixture

def test_something(s3_server, monkeypatch):
    s3_server.create_bucket("corpus")
    store = open_store("s3://corpus/shards", **s3_server.options)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET_KEY = "not-a-secret-of-anyone"  # noqa: S105
_OPTIONS: Any = {"trust_env": False, "timeout": 120.0}
"""The timeout is long because moto imports its S3 code at the first request."""


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
        """The same settings as environment variables for another process."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def create_bucket(self, name: str) -> None:
        httpx.put(f"{self.endpoint}/{name}", **_OPTIONS).raise_for_status()

    def keys(self, bucket: str) -> str:
        """The raw XML listing of a bucket, for assertions that do not use our own code."""
        return httpx.get(f"{self.endpoint}/{bucket}", **_OPTIONS).raise_for_status().text

    def uploads(self, bucket: str) -> str:
        """The raw XML listing of incomplete multipart uploads."""
        return httpx.get(f"{self.endpoint}/{bucket}?uploads", **_OPTIONS).raise_for_status().text


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
