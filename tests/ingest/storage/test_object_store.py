from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from mien.ingest.errors import ConfigError, Policy, StorageDeniedError, StorageError, UsageError
from mien.ingest.storage import open_store, redact
from tests.s3 import SECRET_KEY, S3Server


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"corpus-{uuid4().hex[:12]}"
    s3_server.create_bucket(name)
    return name


def test_environment_configures_the_store(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{bucket}/shards/")
    assert store.publish_bytes(b"x", "name") == f"s3://{bucket}/shards/name"
    assert "<Key>shards/name</Key>" in s3_server.keys(bucket)


def test_missing_bucket_stops_the_run(s3_server: S3Server) -> None:
    for address in ("s3://no-such-bucket", "s3://no-such-bucket/shards"):
        store = open_store(address, **s3_server.options)
        for action in (
            store.check_writable,
            store.list,
            lambda store=store: store.publish_bytes(b"x", "name"),
        ):
            with pytest.raises(StorageDeniedError) as raised:
                action()
            assert raised.value.policy is Policy.STOP
            assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_dead_endpoint_is_retried_without_secrets(s3_server: S3Server) -> None:
    options = {**s3_server.options, "endpoint_override": "http://127.0.0.1:1"}
    with pytest.raises(StorageError) as raised:
        open_store("s3://bucket/shards", **options).read("name")
    assert raised.value.policy is Policy.RETRY
    assert SECRET_KEY not in str(raised.value)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://key:hunter2@bucket/shards",
        "s3://bucket/shards?secret_key=hunter2",
        "gs://user:hunter2@bucket/shards",
        "abfs://container:hunter2@account.dfs.core.windows.net/shards",
        "ftp://user:hunter2@host/shards",
        "s3://",
        "s3:///shards",
        "file://elsewhere/shards",
        "",
    ],
)
def test_refused_uris_hide_secrets(uri: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_store(uri)
    assert "hunter2" not in str(raised.value)


def test_unknown_options_are_named(s3_server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bogus"):
        open_store("s3://bucket/shards", bogus=1, **s3_server.options)
    with pytest.raises(UsageError, match="region"):
        open_store(str(tmp_path), region="us-east-1")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:pw@host/a?token=x#y", "https://host/a?…"),
        ("s3://key:pw@bucket/a", "s3://bucket/a"),
        (
            "abfs://container:pw@account.dfs.core.windows.net/a",
            "abfs://container@account.dfs.core.windows.net/a",
        ),
        ("/a/b?c#d", "/a/b?c#d"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_redact_removes_secrets(uri: str, shown: str) -> None:
    assert redact(uri) == shown


PUBLISHER = """
import sys
from pathlib import Path
from mien.ingest.storage import open_store
store = open_store(sys.argv[2])
print("ready", flush=True)
store.publish(Path(sys.argv[1]), "shard.tar")
"""


@pytest.mark.slow
def test_kill_during_upload_publishes_nothing(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(1 << 29)
    writer = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(source), f"s3://{bucket}/shards"],
        env={**os.environ, **s3_server.environment},
        stdout=subprocess.PIPE,
    )
    while "<UploadId>" not in s3_server.uploads(bucket):
        assert writer.poll() is None
        time.sleep(0.005)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()

    store = open_store(f"s3://{bucket}/shards", **s3_server.options)
    assert store.list() == []
    assert not store.exists("shard.tar")
    store.publish_bytes(b"the next try", "shard.tar")
    assert store.read("shard.tar") == b"the next try"


def test_interrupted_upload_leaves_no_object(s3_server: S3Server, bucket: str) -> None:
    """pyarrow completes an upload if an exception discards its stream. The object must be deleted."""
    store = open_store(f"s3://{bucket}/shards", **s3_server.options)
    with pytest.raises(TypeError):
        store._upload(object(), f"{bucket}/shards/name")  # type: ignore[attr-defined]
    assert store.list() == []


def test_sweep_removes_write_checks(s3_server: S3Server, bucket: str) -> None:
    store = open_store(f"s3://{bucket}/shards", **s3_server.options)
    store._upload(b"x", f"{bucket}/shards/.mien-write-check.0123456789ab.tmp")  # type: ignore[attr-defined]
    assert store.list() == []
    assert store.sweep(older_than_seconds=0) == 1
    assert ".tmp" not in s3_server.keys(bucket)
