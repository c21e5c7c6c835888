"""Any site that yt-dlp supports, with its generic extractor against a site on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.ingest.catalog import Catalog, Outcome, Usage
from mien.ingest.errors import (
    AccessDeniedError,
    AgeGateError,
    FilteredOutError,
    GoneError,
    MienError,
    PrivateAddressError,
    RateLimitedError,
    RejectedRequestError,
    UsageError,
)
from mien.ingest.fetch import Fetch
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.platforms import PLATFORMS
from mien.ingest.platforms.acceptance import AcceptancePolicy
from mien.ingest.platforms.ytdlp.platform import AnySite, video_id
from mien.ingest.rate.identity import DIRECT, Identity
from mien.ingest.sources import SOURCES, Skipped, expand, make_sources
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.sync_films import make_sync_film

HTML = {"Content-Type": "text/html; charset=utf-8"}
MP4 = {"Content-Type": "video/mp4"}
PAGE = """<!DOCTYPE html><html><head><title>A talk</title>{head}</head>
<body><video src="{media}"></video>{body}</body></html>"""
SITE = PLATFORMS["ytdlp"]


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("site") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=2.0)
    return path.read_bytes()


@pytest.fixture
def site(film: bytes) -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        server.pages["/clip.mp4"] = [Reply(body=film, headers=MP4)]
        server.pages["/talk"] = [page()]
        yield server


def page(media: str = "/clip.mp4", *, head: str = "", body: str = "") -> Reply:
    return Reply(body=PAGE.format(media=media, head=head, body=body).encode(), headers=HTML)


def listed(argument: str, **options: Any) -> list[VideoRef]:
    def lister_of(platform: Any) -> Any:
        return platform.lister(
            identities=(DIRECT,),
            ytdlp_options={},
            timeout_seconds=20.0,
            **{"allow_private_addresses": True, **options},
        )

    return list(expand(argument, sources=make_sources(lister_of=lister_of)))


def make_fetch(folder: Path, **options: Any) -> Fetch:
    values = {"cache_dir": str(folder), "allow_private_addresses": True, "timeout_seconds": 20.0}
    return Fetch(**{**values, **options})


def fetched(folder: Path, ref: VideoRef, **options: Any) -> MediaFile:
    (media,) = make_fetch(folder, **options)(Job(video=ref))
    return media


def refusal(folder: Path, url: str, **options: Any) -> MienError:
    ref = VideoRef(source="ytdlp", id=video_id(url), uri=url)
    with pytest.raises(MienError) as raised:
        fetched(folder, ref, **options)
    assert "\n" not in str(raised.value)
    return raised.value


def test_page_is_listed_and_fetched(site: LoopbackServer, tmp_path: Path, film: bytes) -> None:
    (ref,) = listed(f"ytdlp:{site.url('/talk')}")
    assert (ref.source, ref.uri) == ("ytdlp", site.url("/talk"))
    media = fetched(tmp_path, ref)
    assert media.bytes == len(film)
    assert media.job.video.title
    assert media.usage_requests >= 2


def test_page_with_og_video_is_fetched(site: LoopbackServer, tmp_path: Path, film: bytes) -> None:
    head = f'<meta property="og:video" content="{site.url("/clip.mp4")}">'
    body = f"<html><head><title>x</title>{head}</head><body></body></html>".encode()
    site.pages["/og"] = [Reply(body=body, headers=HTML)]
    (ref,) = listed(f"ytdlp:{site.url('/og')}")
    assert fetched(tmp_path, ref).bytes == len(film)


def test_each_video_of_a_page_is_its_own(site: LoopbackServer, tmp_path: Path, film: bytes) -> None:
    longer = film + bytes(8) + b"free"
    site.pages["/other.mp4"] = [Reply(body=longer, headers=MP4)]
    site.pages["/two"] = [page(body='<video src="/other.mp4"></video>')]
    one, two = listed(f"ytdlp:{site.url('/two')}")
    assert one.id != two.id
    assert [fetched(tmp_path, ref).bytes for ref in (one, two)] == [len(film), len(longer)]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=404), GoneError),
        (Reply(status=410), GoneError),
        (Reply(status=403), AccessDeniedError),
        (Reply(status=429, headers={"Retry-After": "77"}), RateLimitedError),
    ],
)
def test_status_of_a_page_gives_its_class(
    site: LoopbackServer, tmp_path: Path, reply: Reply, expected: type[MienError]
) -> None:
    site.pages["/talk"] = [reply]
    error = refusal(tmp_path, site.url("/talk"))
    assert type(error) is expected
    assert error.circuit == (expected is RateLimitedError)
    if isinstance(error, RateLimitedError):
        assert error.retry_after_seconds == 77.0


def test_age_limit_and_licence_are_enforced(site: LoopbackServer, tmp_path: Path) -> None:
    adult = '<meta name="RATING" content="RTA-5042-1996-1400-1577-RTA">'
    site.pages["/adult"] = [page(head=adult)]
    policy = AcceptancePolicy(max_age_limit=12)
    assert type(refusal(tmp_path, site.url("/adult"), acceptance=policy)) is AgeGateError
    policy = AcceptancePolicy(licence="cc")
    assert type(refusal(tmp_path, site.url("/talk"), acceptance=policy)) is FilteredOutError
    assert not [request for request in site.requests if request.path == "/clip.mp4"]


def test_private_addresses_are_refused(site: LoopbackServer, tmp_path: Path) -> None:
    error = refusal(tmp_path, site.url("/talk"), allow_private_addresses=False)
    assert type(error) is PrivateAddressError
    with pytest.raises(PrivateAddressError):
        listed(f"ytdlp:{site.url('/talk')}", allow_private_addresses=False)
    assert site.requests == []


def test_a_redirect_to_a_private_host_is_refused(
    site: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_site(host: str, port: int, *, allow_private: bool) -> list[str]:
        if f":{port}/" not in site.url("/"):
            raise PrivateAddressError(f"{host}: this is no public address")
        return [host]

    monkeypatch.setattr("mien.ingest.platforms.ytdlp.session.checked_addresses", only_site)
    with LoopbackServer() as inner:
        inner.pages["/secret"] = [Reply(body=b"secret", headers=MP4)]
        for path in ("/away", "/clip.mp4"):
            site.pages[path] = [Reply(status=302, headers={"Location": inner.url("/secret")})]
        for page_path in ("/away", "/talk"):
            error = refusal(tmp_path, site.url(page_path), allow_private_addresses=False)
            assert type(error) is PrivateAddressError
        with pytest.raises(PrivateAddressError):
            listed(f"ytdlp:{site.url('/away')}", allow_private_addresses=False)
        assert [request.path for request in site.requests].count("/away") == 2
        assert inner.requests == []


@pytest.mark.parametrize("info", [{"protocol": "rtmp"}, {"protocol": "m3u8_native", "is_live": True}])
def test_unchecked_downloaders_are_refused(info: dict[str, Any], tmp_path: Path) -> None:
    from mien.ingest.platforms.ytdlp.session import Meter, Session

    with Session({"quiet": True}, Meter(), AnySite.rules, only_public=True) as session:
        with pytest.raises(RejectedRequestError, match="cannot be checked"):
            session.dl(str(tmp_path / "a.mp4"), {"url": "https://example.org/a", **info})
        assert [handler.RH_NAME for handler in session._request_director.handlers.values()] == ["urllib"]


def test_a_refusal_leaves_youtube_open(tmp_path: Path) -> None:
    identity = Identity("home", videos_per_hour=0)
    with contextlib.closing(Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite")) as catalog:
        catalog.add(
            [
                VideoRef(source="ytdlp", id="a", uri="https://example.org/a"),
                VideoRef(source="ytdlp", id="b", uri="https://example.org/b"),
                VideoRef(source="youtube", id="c" * 11, uri="https://www.youtube.com/watch?v=ccccccccccc"),
            ]
        )
        run = catalog.begin_run(fingerprint="f", config_json="{}", host="h", lease_seconds=60.0)
        jobs = catalog.claim(run, limit=2, identities=[identity], asking=2)
        assert sorted(job.video.source for job in jobs) == ["youtube", "ytdlp"], "platforms alternate"
        refused = next(job for job in jobs if job.video.source == "ytdlp")
        paused = catalog.settle(
            run, refused.key, Usage(outcome=Outcome.REFUSED, error_class="RateLimitedError")
        )
        assert paused is not None
        assert (paused.identity, paused.platform) == ("home", "ytdlp")
        catalog.add([VideoRef(source="youtube", id="d" * 11, uri="https://www.youtube.com/watch?v=dddd")])
        jobs = catalog.claim(run, limit=9, identities=[identity], asking=9)
        assert [job.key for job in jobs] == ["youtube-ddddddddddd"]
        (site,), (youtube,) = (catalog.egress([identity], name) for name in ("ytdlp", "youtube"))
        assert site.paused_until is not None
        assert youtube.paused_until is None
        assert catalog.reopen("home", "youtube") == []
        assert catalog.reopen("home") == ["ytdlp"]


def test_site_addresses_are_recognised() -> None:
    (ref,) = listed("https://vimeo.com/76979871")
    assert (ref.key, ref.uri) == ("ytdlp-Vimeo_76979871", "https://vimeo.com/76979871")
    assert SITE.parse("https://vimeo.com/channels/tributes").kind == "list"
    assert not SITE.accepts("https://example.org/clip.mp4"), "a media file"
    assert not SITE.accepts("https://example.org/page"), "only the generic extractor"
    names = list(SOURCES)
    assert names.index("youtube") < names.index("ytdlp") < names.index("http")


def test_other_platforms_keep_their_budget() -> None:
    with pytest.raises(UsageError, match="belongs to YouTube"):
        SITE.parse("ytdlp:https://www.youtube.com/watch?v=aaaaaaaaaa1")
    with pytest.raises(UsageError):
        SITE.parse("ytdlp:file:///etc/passwd")


def test_ids_depend_on_the_url_alone() -> None:
    one = video_id("https://example.org/page?x=1")
    assert one == video_id("https://example.org/page?x=1") != video_id("https://example.org/page?x=2")
    assert one.replace("_", "").replace("-", "").isalnum()


def test_a_missing_page_is_counted_not_raised(site: LoopbackServer) -> None:
    skipped = Skipped()
    sources = make_sources(
        lister_of=lambda platform: platform.lister(
            identities=(DIRECT,), ytdlp_options={}, timeout_seconds=20.0, allow_private_addresses=True
        )
    )
    assert list(expand(f"ytdlp:{site.url('/none')}", skipped=skipped, sources=sources)) == []
    assert [type(error) for error in skipped.errors] == [GoneError]
