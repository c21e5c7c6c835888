"""What every platform in `PLATFORMS` must do. A new platform is tested by its line there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from yt_dlp.utils import DownloadError

from mien.ingest.errors import FetchError, RateLimitedError
from mien.ingest.platforms import PLATFORMS, platform_of
from mien.ingest.platforms.acceptance import AcceptancePolicy
from mien.ingest.rate.identity import DIRECT
from mien.ingest.sources import SOURCES

NAMES = sorted(PLATFORMS)
EXAMPLES = [(name, example) for name in NAMES for example in PLATFORMS[name].examples]


@pytest.mark.parametrize("name", NAMES)
def test_platform_has_a_name_and_a_budget(name: str) -> None:
    platform = PLATFORMS[name]
    assert platform.name == name
    assert name.isascii()
    assert name.isalnum()
    assert platform.title
    assert platform.examples
    assert platform.videos_per_hour >= 0
    assert name in SOURCES


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_belong_to_their_platform(name: str, example: str) -> None:
    assert platform_of(example) is PLATFORMS[name]
    address = PLATFORMS[name].parse(example)
    assert address.name
    assert address.url.startswith("https://")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "argument", ["film.mp4", "/videos", "https://example.org/a.mp4", "s3://bucket/a.mp4", ""]
)
def test_other_arguments_are_not_accepted(name: str, argument: str) -> None:
    assert not PLATFORMS[name].accepts(argument)


@pytest.mark.parametrize("name", NAMES)
def test_a_named_video_needs_no_request(name: str) -> None:
    platform = PLATFORMS[name]
    lister = platform.lister(identities=(DIRECT,), ytdlp_options={}, timeout_seconds=1.0)
    address = next(parsed for parsed in map(platform.parse, platform.examples) if parsed.kind == "video")
    (ref,) = platform.find(lister, address)
    assert (ref.source, ref.uri) == (name, address.url)
    assert ref.id.replace("-", "").replace("_", "").isalnum()
    assert list(platform.find(lister, address, limit=0)) == []
    assert sum(lister.requests.values()) == 0


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_classified(name: str) -> None:
    platform = PLATFORMS[name]
    limited = platform.classify(DownloadError("ERROR: HTTP Error 429: Too Many Requests"), name="x")
    assert type(limited) is RateLimitedError
    assert isinstance(platform.classify(ValueError("anything"), name="x"), FetchError)


@pytest.mark.parametrize("name", NAMES)
def test_platform_makes_a_downloader(name: str) -> None:
    made = PLATFORMS[name].downloader(ytdlp_options={}, policy=AcceptancePolicy(), timeout_seconds=1.0)
    assert callable(made.download)


def test_registry_does_not_import_yt_dlp() -> None:
    script = (
        "import sys; from mien.ingest.sources import expand; import os; "
        "[p for p in map(str, ['film.mp4', 'https://example.org/a.mp4'])]; "
        "list(expand('https://example.org/a.mp4')); "
        "sys.exit('yt_dlp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
