"""A copy on this node is of the very bytes that were probed, and asks no platform outside of its budgets."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from mien.ingest.errors import ChangedFileError, FetchError
from mien.ingest.fetch import Fetch
from mien.ingest.media import MediaFile
from tests.ingest.fetch.conftest import cached_files, job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply


def first_fetch(tmp_path: Path, server: LoopbackServer, film: bytes, **options: str) -> MediaFile:
    """Fetched by another node."""
    server.pages["/film.mp4"] = [Reply(body=film)]
    (media,) = make_fetch(tmp_path, cache_dir=str(tmp_path / "other"), **options)(
        job_of(server.url("/film.mp4"))
    )
    return media


def test_new_node_fetches_a_copy(tmp_path: Path, fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    media = first_fetch(tmp_path, server, film)
    for _ in range(2):
        with fetch.local_copy(media) as path:
            assert Path(path).parent == tmp_path / "cache"
            assert Path(path).read_bytes() == film
    assert len(server.requests) == 2
    assert not list((tmp_path / "cache").glob("*.wanted")), "it may be evicted and fetched again"


@pytest.mark.parametrize("change", ["a byte", "the length"])
def test_changed_bytes_are_not_cached(
    change: str, tmp_path: Path, fetch: Fetch, server: LoopbackServer, film: bytes
) -> None:
    media = first_fetch(tmp_path, server, film)
    other = film[:-1] + bytes([film[-1] ^ 1]) if change == "a byte" else film + b"more"
    server.pages["/film.mp4"] = [Reply(body=other)]
    for _ in range(2):  # also the second time: nothing of the first is taken for it
        with (
            pytest.raises(ChangedFileError, match="not the one that processing started with"),
            fetch.local_copy(media),
        ):
            pass
        assert cached_files(fetch) == []


def test_older_cached_file_is_not_used(
    tmp_path: Path, fetch: Fetch, server: LoopbackServer, film: bytes, film_path: Path
) -> None:
    longer = film + bytes(8) + b"free"  # trailing bytes that no demuxer minds
    server.pages["/film.mp4"] = [Reply(body=longer)]
    fetch.cache.sweep()
    with fetch.cache.obtain(server.url("/film.mp4"), ".mp4", lambda partial: partial.write(longer)):
        pass
    media = first_fetch(tmp_path, server, film)
    with (
        pytest.raises(ChangedFileError, match="not the one that processing started with"),
        fetch.local_copy(media),
    ):
        pass
    assert len(cached_files(fetch)) == 1


def test_retained_copy_is_read_first(
    tmp_path: Path, fetch: Fetch, server: LoopbackServer, film: bytes
) -> None:
    media = first_fetch(tmp_path, server, film, keep_uri=str(tmp_path / "kept"))
    with fetch.local_copy(media) as path:
        assert Path(path).read_bytes() == film
    assert len(server.requests) == 1


def test_platform_is_not_asked_again(
    tmp_path: Path, fetch: Fetch, server: LoopbackServer, film: bytes
) -> None:
    media = first_fetch(tmp_path, server, film)
    video = dataclasses.replace(media.job.video, source="youtube")
    media = dataclasses.replace(media, job=dataclasses.replace(media.job, video=video))
    with pytest.raises(FetchError, match="keep_media"), fetch.local_copy(media):
        pass
    assert len(server.requests) == 1
    assert cached_files(fetch) == []


READERS = """
import pickle, sys
from pathlib import Path
fetch, media = pickle.loads(Path(sys.argv[1]).read_bytes())
with fetch.local_copy(media) as path:
    print(len(Path(path).read_bytes()))
"""


@pytest.mark.slow
def test_of_many_readers_one_fetches(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
    import pickle

    media = first_fetch(tmp_path, server, film)
    packed = tmp_path / "packed"
    stage = Fetch(cache_dir=str(tmp_path / "cache"), allow_private_addresses=True)
    packed.write_bytes(pickle.dumps((stage, media)))
    readers = [
        subprocess.Popen([sys.executable, "-c", READERS, str(packed)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [int(reader.communicate()[0]) for reader in readers] == [len(film)] * 3
    assert len(server.requests) == 2
