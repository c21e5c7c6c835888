"""Searches and lists keep to the budgets that videos have: the double counts what really came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from mien.ingest.errors import RateLimitedError
from mien.ingest.platforms.page_client import BudgetedPageClient
from mien.ingest.platforms.platform import Address
from mien.ingest.platforms.youtube.platform import YouTube
from mien.ingest.platforms.youtube.search import find
from mien.ingest.platforms.ytdlp.lister import YtDlpLister
from mien.ingest.rate.governor import WINDOW_SECONDS
from mien.ingest.rate.identity import Identity
from tests.ingest.catalog.makers import Clock
from tests.youtube import Fault, Video, YouTubeDouble

COUNT = 60


def youtube_address(query: str) -> Address:
    platform = YouTube()
    return platform.parse(query) if platform.accepts(query) else platform.search(query)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def youtube() -> Iterator[YouTubeDouble]:
    videos = [Video(id=f"video_{number:05d}") for number in range(COUNT)]
    with YouTubeDouble(videos, page_size=2) as double:
        double.playlists["PLaaaaaaaaaaaaaaaa"] = [video.id for video in videos]
        yield double


class Person:
    """Somebody who searches, with a clock of his own that only waiting moves."""

    def __init__(
        self, catalog: Catalog, clock: Clock, youtube: YouTubeDouble, *identities: Identity, wait: bool = True
    ) -> None:
        self.clock, self.youtube = clock, youtube
        self.output: list[str] = []
        self.times: list[float] = []
        """When each request was made."""
        page_budget = BudgetedPageClient(
            catalog, "youtube", wait=wait, say=self.output.append, clock=clock, sleep=self.sleep
        )
        options = {"nocheckcertificate": True}
        self.lister = YtDlpLister(
            rules=YouTube.rules, identities=identities, ytdlp_options=options, page_budget=page_budget
        )

    def sleep(self, seconds: float) -> None:
        self.note()
        self.clock.sleep(seconds)

    def note(self) -> None:
        self.times += [self.clock.now] * (len(self.youtube.requests) - len(self.times))

    def finds(self, query: str, limit: int | None = None) -> int:
        found = sum(1 for _ in find(self.lister, youtube_address(query), limit=limit))
        self.note()
        return found


def identity(
    youtube: YouTubeDouble, name: str = "home", *, requests_per_hour: int = 0, videos_per_hour: int = 0
) -> Identity:
    return Identity(
        name,
        proxy=youtube.proxy_of(name),
        requests_per_hour=requests_per_hour,
        videos_per_hour=videos_per_hour,
    )


def most_in_a_window(times: list[float]) -> int:
    return max(sum(1 for at in times if begin <= at < begin + WINDOW_SECONDS) for begin in times)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "people talking",
        pytest.param("@Faces", marks=pytest.mark.slow),
        pytest.param("https://www.youtube.com/playlist?list=PLaaaaaaaaaaaaaaaa", marks=pytest.mark.slow),
    ],
)
def test_pages_never_exceed_the_budget(
    catalog: Catalog, clock: Clock, youtube: YouTubeDouble, query: str
) -> None:
    person = Person(catalog, clock, youtube, identity(youtube, requests_per_hour=12))
    assert person.finds(query) == COUNT
    assert len(person.times) == len(youtube.requests) >= COUNT / 2
    assert most_in_a_window(person.times) <= 12
    assert "waiting until" in person.output[0]
    assert "identity home" in person.output[0]


@pytest.mark.slow
def test_search_uses_the_video_budget(catalog: Catalog, clock: Clock, youtube: YouTubeDouble) -> None:
    person = Person(catalog, clock, youtube, identity(youtube, videos_per_hour=5))
    assert [person.finds(f"words {number}", limit=1) for number in range(9)] == [1] * 9
    assert most_in_a_window(person.times) <= 5


def test_without_wait_reports_next_time(catalog: Catalog, clock: Clock, youtube: YouTubeDouble) -> None:
    person = Person(catalog, clock, youtube, identity(youtube, requests_per_hour=6), wait=False)
    with pytest.raises(RateLimitedError, match=r"has room again at .*acquire\.wait=true"):
        person.finds("people talking")
    asked = len(youtube.requests)
    assert 1 <= asked <= 6
    with pytest.raises(RateLimitedError):
        Person(catalog, clock, youtube, *person.lister.identities, wait=False).finds("other words")
    assert len(youtube.requests) == asked
    [state] = catalog.egress(person.lister.identities, "youtube")
    assert (state.paused_until, state.requests) == (None, asked), "its own patience is no refusal"


def test_identity_with_budget_is_used_first(catalog: Catalog, clock: Clock, youtube: YouTubeDouble) -> None:
    both = [identity(youtube, name, requests_per_hour=30) for name in ("a", "b")]
    Person(catalog, clock, youtube, both[0]).finds("people talking", limit=1)
    assert Person(catalog, clock, youtube, *both).finds("people talking", limit=1) == 1
    assert [request.identity for request in youtube.requests] == ["a", "b"]


def test_two_lists_do_not_block_each_other(catalog: Catalog, clock: Clock, youtube: YouTubeDouble) -> None:
    """Also while only one probe is allowed: a page is settled as soon as it is read."""
    home = identity(youtube)
    person = Person(catalog, clock, youtube, home)
    youtube.fault(Fault.RATE_LIMITED, times=1)
    with pytest.raises(RateLimitedError):
        person.finds("people talking")
    [state] = catalog.egress([home], "youtube")
    assert state.paused_until is not None
    clock.now = state.paused_until
    again = Person(catalog, clock, youtube, home)
    streams = [find(again.lister, youtube_address(words)) for words in ("one", "two")]
    for _ in range(6):
        for stream in streams:
            next(stream)
    assert clock.now == state.paused_until
    assert catalog.egress([home], "youtube")[0].paused_until is None, "a page came: the limit is over"


def test_killed_run_releases_its_probe(catalog: Catalog, clock: Clock) -> None:
    home = Identity("home", requests_per_hour=1)
    assert catalog.grant_page(home, "youtube", is_first=True).number is not None  # and never settled
    given = catalog.grant_page(home, "youtube", is_first=True)
    assert given.number is None
    clock.now = given.room_at
    assert catalog.grant_page(home, "youtube", is_first=True).number is not None
