from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import AccessDeniedError, MissingFileError, StorageDeniedError, UsageError
from mien.ingest.naming import SLUG_LETTERS, make_id
from mien.ingest.sources import SOURCES, Skipped, expand, local_path, path_uri
from mien.ingest.sources.folder import file_ref
from mien.ingest.storage import open_store
from tests.s3 import S3Server

NOBODY = 65534

# Every name that Linux allows: any bytes but "/" and NUL.
raw_names = st.binary(min_size=1, max_size=80).filter(
    lambda name: not set(name) & {0, 0x2F} and name not in {b".", b".."}
)


def names(path: Path, skipped: Skipped | None = None) -> list[str]:
    return [Path(ref.uri).name for ref in expand(str(path), skipped=skipped)]


@given(st.lists(raw_names, min_size=2, max_size=8, unique=True))
def test_distinct_paths_have_distinct_valid_ids(found: list[bytes]) -> None:
    refs = [file_ref("/videos/" + os.fsdecode(name), query="/videos") for name in found]
    assert len({ref.id for ref in refs}) == len(found)
    for ref in refs:
        assert re.fullmatch(rf"[A-Za-z0-9_]{{1,{SLUG_LETTERS + 1 + 16}}}", ref.id)
        assert re.fullmatch(r"[A-Za-z0-9]+", ref.source)


@given(raw_names)
def test_any_path_survives_json_and_utf8(name: bytes) -> None:
    path = "/videos/" + os.fsdecode(name)
    ref = file_ref(path, query=path)
    for text in (ref.uri, ref.title, ref.query):
        assert json.loads(json.dumps(text, ensure_ascii=False).encode("utf-8")) == text
    assert os.fsencode(local_path(ref.uri) or "") == os.fsencode(path)


@given(st.text(min_size=1), st.binary())
def test_ids_are_stable_and_short(stem: str, identity: bytes) -> None:
    assert make_id(stem, identity) == make_id(stem, identity)
    assert len(make_id(stem, identity)) <= SLUG_LETTERS + 17


def test_id_is_readable() -> None:
    assert re.fullmatch(
        r"Das_ist_ein_Uberblick_2_[0-9a-f]{16}", file_ref("/a/Das ist ein Überblick-2.mp4", query="").id
    )
    assert path_uri("/a/ä b.mp4") == "/a/ä b.mp4"
    assert path_uri("/a/" + os.fsdecode(b"\xff.mp4")) == "file:///a/%FF.mp4"


def test_folder_is_sorted_and_skipped_files_counted(tmp_path: Path) -> None:
    for name in (
        "b.mp4",
        "a.MKV",
        "notes.txt",
        "more.txt",
        "meta.json",
        "README",
        "sub/z.webm",
        "sub/deep/y.mov",
        "sound.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    skipped = Skipped()
    assert names(tmp_path, skipped) == ["a.MKV", "b.mp4", "z.webm", "y.mov"]
    assert skipped.not_media == {".txt": 2, ".json": 1, "(none)": 1, ".wav": 1}
    assert skipped.summary() == "skipped 5 files that are not media: .txt 2, (none) 1, .json 1, .wav 1"
    assert skipped.errors == []


def test_summary_is_empty_if_nothing_was_skipped() -> None:
    assert Skipped().summary() == ""


def test_broken_files_are_included(tmp_path: Path) -> None:
    (tmp_path / "dead.mp4").symlink_to("nowhere")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    assert names(tmp_path) == ["dead.mp4", "empty.mp4", "loop.mp4", "pipe.mp4"]


@pytest.mark.parametrize("make", ["text", "fifo", "dead", "nothing", "empty"])
def test_named_file_is_always_included(tmp_path: Path, make: str) -> None:
    path = tmp_path / "odd name.xyz"
    if make == "text":
        path.write_text("hello")
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "dead":
        path.symlink_to("nowhere")
    elif make == "empty":
        path.touch()
    (ref,) = expand(str(path))
    assert (ref.source, ref.uri, ref.title) == ("file", str(path), "odd name")


def test_relative_paths_and_file_uris_are_the_same_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b.mp4").touch()
    monkeypatch.chdir(tmp_path)
    refs = [
        ref
        for argument in ("a b.mp4", "./a b.mp4", str(tmp_path / "a b.mp4"), f"file://{tmp_path}/a%20b.mp4")
        for ref in expand(argument)
    ]
    assert len({ref.id for ref in refs}) == 1
    assert {ref.uri for ref in refs} == {str(tmp_path / "a b.mp4")}


def test_non_utf8_paths_are_preserved(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    Path(os.fsdecode(raw)).touch()
    (ref,) = expand(str(tmp_path))
    assert ref.uri.startswith("file:///")
    assert ref.title == "caf\ufffd"
    assert os.path.exists(local_path(ref.uri) or "")  # noqa: PTH110


def test_links_are_followed_once(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    for folder in (root / "real", disk):
        folder.mkdir(parents=True)
    (root / "real" / "a.mp4").touch()
    (disk / "b.mp4").touch()
    (root / "0-inside").symlink_to("real")
    (root / "real" / "up").symlink_to("..")
    (root / "1-outside").symlink_to(disk)
    (root / "2-outside-again").symlink_to(disk)
    (root / "c.mp4").symlink_to(disk / "b.mp4")
    found = [ref.uri for ref in expand(str(root))]
    assert found == [str(root / name) for name in ("c.mp4", "real/a.mp4", "1-outside/b.mp4")]


@pytest.fixture
def shut_folder() -> Iterator[Path]:
    """A readable folder with a subfolder that cannot be listed."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "open.mp4").touch()
        (root / "shut").mkdir()
        (root / "shut" / "hidden.mp4").touch()
        (root / "shut").chmod(0)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(NOBODY)
        try:
            yield root
        finally:
            if was_root:
                os.seteuid(0)
            (root / "shut").chmod(stat.S_IRWXU)


def test_unlistable_folder_is_reported(shut_folder: Path) -> None:
    skipped = Skipped()
    assert names(shut_folder, skipped) == ["open.mp4"]
    (error,) = skipped.errors
    assert isinstance(error, AccessDeniedError)
    assert "shut" in str(error)


def test_without_skipped_error_is_raised_last(shut_folder: Path) -> None:
    found = []
    with pytest.raises(AccessDeniedError, match="shut"):
        for ref in expand(str(shut_folder)):
            found.append(ref.title)  # noqa: PERF401
    assert found == ["open"]


def test_vanished_folder_is_reported(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.mp4").touch()
    skipped = Skipped()
    walk = expand(str(tmp_path), skipped=skipped)
    next(walk)
    (tmp_path / "b" / "x.mp4").unlink()
    (tmp_path / "b").rmdir()
    assert list(walk) == []
    assert isinstance(skipped.errors[0], MissingFileError)


def test_url_spellings_are_one_video() -> None:
    ways = (
        "https://Example.COM/clips/Interview%201.mp4?k=v",
        "HTTPS://example.com:443/clips/Interview%201.mp4?k=v#t=3",
    )
    refs = [ref for way in ways for ref in expand(way)]
    assert len({ref.id for ref in refs}) == 1
    assert refs[0].uri == "https://example.com/clips/Interview%201.mp4?k=v"
    assert refs[0].title == "Interview 1"
    assert refs[0].id.startswith("Interview_1_")
    assert next(expand("https://example.com")).uri == "https://example.com/"


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@example.com/a.mp4",
        "https://hunter2@example.com/a.mp4",
        "https:///a.mp4",
        "https://example.com:99999/a.mp4",
        "https://[::1/a.mp4",
        "s3://key:hunter2@bucket/a.mp4",
        "gopher://hunter2@example.com/",
        "file://elsewhere/a.mp4",
        "",
        "a\0b",
    ],
)
def test_invalid_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError) as raised:
        list(expand(address))
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"media-{uuid4().hex[:12]}"
    s3_server.create_bucket(name)
    return name


def test_bucket_prefix_is_listed(bucket: str) -> None:
    for folder, name in (("in/b", "x.mp4"), ("in/a", "y.webm"), ("in", "notes.txt"), ("other", "z.mp4")):
        open_store(f"s3://{bucket}/{folder}").publish_bytes(b"x", name)
    skipped = Skipped()
    refs = list(expand(f"s3://{bucket}/in", skipped=skipped))
    assert [ref.uri for ref in refs] == [f"s3://{bucket}/in/a/y.webm", f"s3://{bucket}/in/b/x.mp4"]
    assert skipped.not_media == {".txt": 1}
    (one,) = expand(f"s3://{bucket}/in/b/x.mp4")
    assert (one.id, one.source) == (refs[1].id, "object")
    assert len(list(expand(f"s3://{bucket}"))) == 3
    (missing,) = expand(f"s3://{bucket}/in/missing.mp4")
    assert missing.uri.endswith("/in/missing.mp4")


def test_missing_bucket_is_reported(bucket: str) -> None:
    for address in (f"s3://no-{bucket}", f"s3://no-{bucket}/prefix/"):
        with pytest.raises(StorageDeniedError, match="nothing was found"):
            list(expand(address))


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_source_name_matches_registry_key(source: str, tmp_path: Path) -> None:
    examples = {"file": str(tmp_path / "a.mp4"), "http": "https://example.com/a.mp4"}
    if source not in examples:
        pytest.skip("needs a server; see its own tests")
    assert {ref.source for ref in expand(examples[source])} == {source}
