"""What every fetcher in `FETCHERS` must do."""

from __future__ import annotations

import pytest

from mien.ingest.errors import ConfigError, RejectedRequestError
from mien.ingest.fetch.fetchers import (
    FETCHERS,
    Fetchers,
    FetchOptions,
    PlatformFetcher,
    RetainedFetcher,
    identity_of,
)
from mien.ingest.media import Job, VideoRef
from mien.ingest.platforms import PLATFORMS
from mien.ingest.rate.identity import DIRECT, Identity
from mien.ingest.storage.location import OBJECT_SCHEMES


def job(uri: str, source: str = "http", **fields: str) -> Job:
    return Job(video=VideoRef(source=source, id="a", uri=uri), **fields)  # type: ignore[arg-type]


def test_every_scheme_has_a_fetcher() -> None:
    assert FETCHERS.keys() == {"http", "https", *OBJECT_SCHEMES}
    for kind in FETCHERS.values():
        assert callable(kind(FetchOptions()).fetch)


@pytest.mark.parametrize("scheme", sorted(FETCHERS))
def test_the_scheme_chooses_the_fetcher(scheme: str) -> None:
    fetchers = Fetchers(FetchOptions())
    chosen = fetchers.fetcher_for(job(f"{scheme}://host/a.mp4"), is_retained=False)
    assert type(chosen) is FETCHERS[scheme]
    again = fetchers.fetcher_for(job(f"{scheme}://host/b.mp4"), is_retained=False)
    assert again is chosen, "connections are reused"


@pytest.mark.parametrize("source", sorted(PLATFORMS))
def test_platforms_come_before_schemes(source: str) -> None:
    fetchers = Fetchers(FetchOptions())
    page = job("https://host/page", source)
    assert type(fetchers.fetcher_for(page, is_retained=False)) is PlatformFetcher
    assert type(fetchers.fetcher_for(page, is_retained=True)) is RetainedFetcher


def test_unknown_schemes_are_refused() -> None:
    with pytest.raises(RejectedRequestError, match="no fetcher for gopher://"):
        Fetchers(FetchOptions()).fetcher_for(job("gopher://host/a"), is_retained=False)


def test_granted_identity_is_used() -> None:
    a, b = Identity("a"), Identity("b")
    assert identity_of(job("https://host/a"), [a, b]) is a
    assert identity_of(job("https://host/a", identity="b"), [a, b]) is b
    assert identity_of(job("https://host/a", identity="direct"), [a]) is DIRECT
    with pytest.raises(ConfigError, match="no identity named c"):
        identity_of(job("https://host/a", identity="c"), [a, b])
