"""`mien add` and `mien run --only fetch` with pages of any site."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.mien_command import mien
from tests.sync_films import make_sync_film

HTML = {"Content-Type": "text/html; charset=utf-8"}
ENVIRONMENT = {
    "MIEN_FETCH__ALLOW_PRIVATE_ADDRESSES": "true",
    "MIEN_ACQUIRE__WAIT": "false",
    "MIEN_ACQUIRE__IDENTITIES": '[{"name": "home", "videos_per_hour": 0}]',
}


@pytest.mark.slow
def test_pages_are_added_and_fetched(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    make_sync_film(film, container="mp4", seconds=2.0)
    with LoopbackServer() as site:
        site.pages["/clip.mp4"] = [Reply(body=film.read_bytes(), headers={"Content-Type": "video/mp4"})]
        body = b'<html><head><title>A talk</title></head><body><video src="/clip.mp4"></video></body></html>'
        site.pages["/a-talk"] = [Reply(body=body, headers=HTML)]
        added = mien("add", f"ytdlp:{site.url('/a-talk')}", "--json", folder=tmp_path, **ENVIRONMENT)
        assert added.returncode == 0, added.stderr
        site.pages["/b-limited"] = [Reply(body=body, headers=HTML), Reply(status=429)]
        added = mien("add", f"ytdlp:{site.url('/b-limited')}", folder=tmp_path, **ENVIRONMENT)
        assert added.returncode == 0, added.stderr
        ran = mien("run", "--local", "--only", "fetch", "--json", folder=tmp_path, **ENVIRONMENT)
        facts = json.loads(ran.stdout)
        assert facts["acquisition"]["fetched"] == 1, ran.stderr
        (identity,) = facts["acquisition"]["identities"]
        assert (identity["name"], identity["platform"]) == ("home", "ytdlp")
        assert identity["error_class"] == "RateLimitedError"
        assert identity["paused_until"] is not None
    catalog = sqlite3.connect(tmp_path / "store" / "catalog.sqlite")
    rows = catalog.execute("SELECT platform, error_class FROM egress").fetchall()
    (bytes_fetched,) = catalog.execute("SELECT bytes FROM media").fetchone()
    catalog.close()
    assert rows == [("ytdlp", "RateLimitedError")]
    assert bytes_fetched == film.stat().st_size
