from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

from mien.cluster.doctor import CheckStatus, examine
from mien.cluster.doctor.acquisition import check_acquisition
from mien.ingest.catalog import Catalog
from mien.ingest.errors import MissingProgramError, StorageDeniedError
from mien.ingest.media import VideoRef
from mien.ingest.rate.identity import Identity
from tests.cluster.doctor.doctor_checks import outcomes, refused, settings

GOOD = ".youtube.com\tTRUE\t/\tTRUE\t4102444800\tLOGIN_INFO\tsecret-value-1\n"


def test_everything_passes() -> None:
    check_acquisition(settings(), {"youtube"})
    check_acquisition(settings(), {"http"})


def test_no_checks_without_platform_videos() -> None:
    wrong = settings(Identity("me", cookies_file="none"), ytdlp_options={"exec": "x"})
    check_acquisition(wrong, {"file", "object"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("[]", "in JSON"),
        ("nonsense\n", "line 1"),
        (GOOD.replace("4102444800", "1000000000"), "expired on 2001-09-09"),
    ],
)
def test_useless_cookies_are_reported(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "cookies.txt"
    if text is not None:
        path.write_text(text)
    line = refused(settings(Identity("me", cookies_file=str(path))))
    assert problem in line
    assert "export them again" in line


def test_readable_cookies_file_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(GOOD)
    path.chmod(0o644)
    of = settings(Identity("me", cookies_file=str(path)))
    (found,) = outcomes("cookies", of)
    assert (found.status, found.fix) == (CheckStatus.WARN, f"chmod 600 {path}")
    check_acquisition(of, {"youtube"})
    path.chmod(0o600)
    assert [each.status for each in outcomes("cookies", of)] == [CheckStatus.OK]


def test_cookies_are_checked_per_platform(tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(GOOD.replace("youtube", "vimeo"))
    path.chmod(0o600)
    of = settings(Identity("me", cookies_file=str(path)))
    check_acquisition(of, {"ytdlp"})
    check_acquisition(of, {"ytdlp", "youtube"})
    assert [each.status for each in outcomes("cookies", of)] == [CheckStatus.OK]
    assert "no cookies of YouTube" in refused(of)


def test_javascript_is_checked_per_platform(tmp_path: Path) -> None:
    of = settings(
        ytdlp_options={"js_runtimes": {"deno": {"path": str(tmp_path / "no")}}, "extractor_args": {}}
    )
    check_acquisition(of, {"ytdlp"})
    (tmp_path / "mien-store").mkdir()
    with Catalog.open(of.store.catalog_url) as catalog:
        catalog.add([VideoRef(source="ytdlp", id="Vimeo_76979871", uri="https://vimeo.com/76979871")])
    (found,) = [check for check in examine(of) if check.name == "javascript"]
    assert (found.status, found.message) == (CheckStatus.OK, "not needed by the platforms in use")


def runtime(folder: Path, name: str, says: str) -> dict[str, dict[str, str]]:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return {name: {"path": str(path)}}


@pytest.mark.parametrize(
    ("name", "says", "status"),
    [
        ("deno", "deno 2.9.8 (stable, release, x86_64)", CheckStatus.OK),
        ("deno", "deno 2.2.0 (stable, release, x86_64)", CheckStatus.FAIL),
        ("node", "v22.1.0", CheckStatus.OK),
        ("node", "v20.20.2", CheckStatus.FAIL),
        ("bun", "1.2.11", CheckStatus.OK),
        ("quickjs", "QuickJS version 2025-09-13", CheckStatus.OK),
    ],
)
def test_javascript_runtime_versions(tmp_path: Path, name: str, says: str, status: CheckStatus) -> None:
    options = {"js_runtimes": runtime(tmp_path, name, says), "extractor_args": {}}
    of = settings(ytdlp_options=options)
    (found,) = outcomes("javascript", of)
    assert found.status is status, found
    if status is CheckStatus.FAIL:
        assert "pip install 'deno" in refused(of, MissingProgramError)
    else:
        check_acquisition(of, {"youtube"})


def test_missing_javascript_runtime(tmp_path: Path) -> None:
    of = settings(
        ytdlp_options={"js_runtimes": {"deno": {"path": str(tmp_path / "no")}}, "extractor_args": {}}
    )
    assert "no JavaScript runtime for YouTube" in refused(of, MissingProgramError)


def test_platform_problems_warn_unless_videos_wait(tmp_path: Path) -> None:
    of = settings(
        ytdlp_options={"js_runtimes": {"deno": {"path": str(tmp_path / "no")}}, "extractor_args": {}}
    )

    def status() -> CheckStatus:
        return next(check.status for check in examine(of) if check.name == "javascript")

    assert status() is CheckStatus.WARN
    (tmp_path / "mien-store").mkdir()
    with Catalog.open(of.store.catalog_url) as catalog:
        catalog.add([VideoRef(source="file", id="one", uri="/one.mp4")])
        assert status() is CheckStatus.WARN
        uri = "https://www.youtube.com/watch?v=aaaaaaaaaa1"
        catalog.add([VideoRef(source="youtube", id="aaaaaaaaaa1", uri=uri)])
    assert status() is CheckStatus.FAIL


def test_old_yt_dlp_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "yt_dlp-2025.12.8.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: yt-dlp\nVersion: 2025.12.8\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "2025.12.8 is older than 2026.10.26" in refused(settings(), MissingProgramError)


def test_missing_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", nothing)
    assert "yt-dlp is not installed; pip install" in refused(settings(), MissingProgramError)


def test_invalid_yt_dlp_options_and_formats() -> None:
    assert "acquire.ytdlp_options.exec is refused" in refused(settings(ytdlp_options={"exec": "x"}))
    assert "not a valid format selector" in refused(settings(format="bv*[height<="))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_media_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mien-store" / "cache").mkdir(parents=True)
    (tmp_path / "mien-store" / "cache").chmod(0o500)
    refused(settings(), StorageDeniedError)


def test_invalid_media_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    of = settings(keep_media="always", media_uri=str(tmp_path / "file" / "media"))
    assert "media" in refused(of, StorageDeniedError)
