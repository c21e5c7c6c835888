from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.ingest.errors import (
    AgeGateError,
    BotWallError,
    CopyrightError,
    ExtractorError,
    FetchError,
    FilteredOutError,
    GeoBlockedError,
    IncompleteTransferError,
    LiveError,
    MediaForbiddenError,
    MembersOnlyError,
    MienError,
    NoFormatsError,
    Policy,
    PremiereError,
    PrivateVideoError,
    RateLimitedError,
    RemovedVideoError,
    TooLargeError,
)
from mien.ingest.media import SearchFilter
from mien.ingest.platforms.acceptance import AcceptancePolicy
from tests.ingest.platforms.youtube.conftest import SECONDS
from tests.ingest.platforms.youtube.fetching import (
    ID,
    fetched,
    identity_through,
    names_in_cache,
    youtube_fetch,
    youtube_job,
)
from tests.youtube import Fault, Video, YouTubeDouble

# What each switch of the double is, seen from the fetch stage. None: it is fetched all the same.
OUTCOMES: dict[Fault, type[MienError] | None] = {
    Fault.RATE_LIMITED: RateLimitedError,
    Fault.SERVER_ERROR: FetchError,
    Fault.SEARCH_CUT: None,
    # `player_skip` leaves the page unread here; test_bot_detection.py reads it.
    Fault.PAGE_RATE_LIMITED: None,
    Fault.PAGE_SORRY: None,
    Fault.PAGE_BOT_WALL: None,
    Fault.BOT_WALL: BotWallError,
    Fault.SESSION_LIMIT: RateLimitedError,
    Fault.PRIVATE: PrivateVideoError,
    Fault.REMOVED: RemovedVideoError,
    Fault.TERMINATED: RemovedVideoError,
    Fault.COPYRIGHT: CopyrightError,
    Fault.AGE_GATE: AgeGateError,
    Fault.GEO_BLOCK: GeoBlockedError,
    Fault.LIVE: LiveError,
    Fault.PREMIERE: PremiereError,
    Fault.MEMBERS_ONLY: MembersOnlyError,
    Fault.NO_FORMATS: NoFormatsError,
    Fault.OTHER_VIDEO: BotWallError,
    Fault.UNHEARD_OF: ExtractorError,
    Fault.MEDIA_FORBIDDEN: MediaForbiddenError,
    Fault.MEDIA_RATE_LIMITED: RateLimitedError,
    Fault.MEDIA_HTML: IncompleteTransferError,
    Fault.MEDIA_SLOW: None,
    Fault.MEDIA_STALLED: IncompleteTransferError,
    Fault.MEDIA_RESET: IncompleteTransferError,
    Fault.MEDIA_SHORT: IncompleteTransferError,
    Fault.MEDIA_WRONG_LENGTH: IncompleteTransferError,
    Fault.MEDIA_NOISE: IncompleteTransferError,
}
CIRCUIT = {BotWallError, RateLimitedError}


def video(film: Path, **fields: object) -> Video:
    return Video(**{"id": ID, "media": film, "duration_seconds": SECONDS, **fields})  # type: ignore[arg-type]


def test_every_switch_is_listed() -> None:
    assert set(OUTCOMES) == set(Fault)


# What has to be waited for, or asked for again by yt-dlp itself.
WAITED_FOR = {Fault.MEDIA_STALLED, Fault.MEDIA_RESET, Fault.MEDIA_SLOW}


def patience(fault: Fault, seconds: float) -> dict[str, Any]:
    """Only where nothing comes is it waited out: whatever else is late on a busy machine is no fault."""
    return {"timeout_seconds": seconds} if fault is Fault.MEDIA_STALLED else {}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(one, marks=pytest.mark.slow if one in WAITED_FOR else ()) for one in Fault],
    ids=lambda fault: fault.name,
)
def test_every_switch_ends_in_its_class(tmp_path: Path, film: Path, fault: Fault) -> None:
    later = time.time() + 5 * 3600
    with YouTubeDouble([video(film, fault=fault, premieres_at=later)]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube), **patience(fault, 0.5))
        expected = OUTCOMES[fault]
        if expected is None:
            assert fetched(stage, youtube_job()).key == f"youtube-{ID}"
            return
        with pytest.raises(expected) as raised:
            fetched(stage, youtube_job())
    error = raised.value
    assert type(error) is expected
    assert "\n" not in str(error)
    assert error.circuit == (expected in CIRCUIT)
    assert error.usage_requests >= 1
    assert names_in_cache(stage) <= {".work"}, "nothing is left as final"
    if error.policy is Policy.PERMANENT:
        assert names_in_cache(stage) == set()
    if fault is Fault.PREMIERE:
        assert isinstance(error, FetchError)
        assert (error.retry_after_seconds or 0) > 3600


def test_metadata_travels_with_media(tmp_path: Path, film: Path) -> None:
    title = "نقاش 🎙️ \u202e talk"
    with YouTubeDouble([video(film, title=title, channel="Faces & Voices")]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube))
        media = fetched(stage, youtube_job(labels={"a": "b"}))
        sent = youtube.bytes_sent[ID]
        asked = len(youtube.requests)
    found = media.job.video
    assert (found.channel, found.duration_seconds, found.labels) == ("Faces & Voices", SECONDS, {"a": "b"})
    assert found.title.startswith("نقاش 🎙️")
    assert found.title.isprintable()
    assert media.usage_requests == asked
    assert media.usage_bytes >= sent == media.bytes
    assert media.audio is not None
    assert media.video is not None


def test_finished_video_is_not_requested_again(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([video(film)]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube))
        first = fetched(stage, youtube_job())
        asked = len(youtube.requests)
        again = fetched(youtube_fetch(tmp_path, identity_through(youtube)), youtube_job())
        assert len(youtube.requests) == asked
    assert again == replace(first, usage_requests=0, usage_bytes=0)
    stage.release(again)
    assert names_in_cache(stage) == set()


def test_separate_streams_are_merged(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([video(film)]) as youtube:
        stage = youtube_fetch(
            tmp_path,
            identity_through(youtube),
            acceptance=AcceptancePolicy(format="bv[vcodec!=none][acodec=none]+ba"),
        )
        media = fetched(stage, youtube_job())
    assert media.video is not None
    assert media.audio is not None
    assert (media.video.codec, media.audio.codec) == ("h264", "aac")
    assert abs(media.duration_seconds - SECONDS) < 0.2
    assert names_in_cache(stage) == {"", ".about"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.MEDIA_RESET, Fault.MEDIA_WRONG_LENGTH, Fault.MEDIA_STALLED])
def test_interrupted_transfer_is_resumed(tmp_path: Path, film: Path, fault: Fault) -> None:
    with YouTubeDouble([video(film, fault=fault, fault_times=1)]) as youtube:
        # What comes must come in that time, too.
        stage = youtube_fetch(tmp_path, identity_through(youtube), **patience(fault, 4.0))
        media = fetched(stage, youtube_job())
        first, *more = youtube.asked("/videoplayback")
        # A reset throws away what the kernel had received and nobody had read.
        assert fault is Fault.MEDIA_RESET or youtube.bytes_sent[ID] == media.bytes, "not a byte came twice"
    assert first.range.startswith("bytes=0-")
    assert more
    assert fault is Fault.MEDIA_RESET or re.match(r"bytes=[1-9]", more[0].range)
    assert media.bytes == film.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.MEDIA_RESET, Fault.MEDIA_STALLED])
def test_next_call_resumes_a_failed_one(tmp_path: Path, film: Path, fault: Fault) -> None:
    with YouTubeDouble([video(film, fault=fault)]) as youtube:
        stage = youtube_fetch(
            tmp_path, identity_through(youtube), ytdlp_options={"retries": 0}, **patience(fault, 1.0)
        )
        with pytest.raises(IncompleteTransferError):
            fetched(stage, youtube_job())
        assert names_in_cache(stage) == {".work"}
        youtube.heal(ID)
        media = fetched(youtube_fetch(tmp_path, identity_through(youtube)), youtube_job())
        assert youtube.asked("/videoplayback")[-1].range.startswith("bytes=")
        assert media.usage_bytes < media.bytes + 100_000
    assert media.bytes == film.stat().st_size
    assert names_in_cache(stage) == {"", ".about"}


@pytest.mark.parametrize(
    ("acceptance", "fields", "expected"),
    [
        (AcceptancePolicy(licence="cc"), {}, FilteredOutError),
        (AcceptancePolicy(after="2024-05-18"), {}, FilteredOutError),
        (AcceptancePolicy(after="2024-05-17"), {}, None),
        (AcceptancePolicy(max_age_limit=16), {"age_limit": 18}, AgeGateError),
        (AcceptancePolicy(max_age_limit=18), {"age_limit": 18}, None),
    ],
)
def test_policy_applies_before_media(
    tmp_path: Path,
    film: Path,
    acceptance: AcceptancePolicy,
    fields: dict[str, object],
    expected: type[MienError] | None,
) -> None:
    with YouTubeDouble([video(film, **fields)]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube), acceptance=acceptance)
        if expected is None:
            assert fetched(stage, youtube_job()).bytes
        else:
            with pytest.raises(expected):
                fetched(stage, youtube_job())
        assert bool(youtube.asked("/videoplayback")) == (expected is None)


def test_any_search_filter_suffices(tmp_path: Path, film: Path) -> None:
    long, german = SearchFilter(min_seconds=600), SearchFilter(language="de")
    with YouTubeDouble([video(film, language="de-AT")]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube))
        with pytest.raises(FilteredOutError, match="600 s is the minimum"):
            fetched(stage, youtube_job(filters=(long,)))
        assert not youtube.asked("/videoplayback")
        found = fetched(stage, youtube_job(filters=(long, german)))
    assert found.bytes


def test_creative_commons_is_known_from_the_page(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([video(film, creative_commons=True)]) as youtube:
        client = {"youtube": {"player_client": ["visionos"], "player_skip": ["configs", "js"]}}
        stage = youtube_fetch(
            tmp_path,
            identity_through(youtube),
            acceptance=AcceptancePolicy(licence="cc"),
            ytdlp_options={"extractor_args": client},
        )
        media = fetched(stage, youtube_job())
    assert media.job.video.licence.startswith("Creative Commons")


def test_too_large_file_is_not_started(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([video(film)]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube), max_bytes=5000)
        with pytest.raises(TooLargeError, match=r"max_bytes"):
            fetched(stage, youtube_job())
    assert names_in_cache(stage) == set()


def test_other_duration_is_an_error(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([video(film, duration_seconds=60.0)]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube))
        with pytest.raises(IncompleteTransferError, match=r"60\.0 s declared") as raised:
            fetched(stage, youtube_job())
    assert raised.value.usage_bytes > 0
    assert names_in_cache(stage) == set()


def test_granted_identity_makes_the_requests(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([video(film)]) as youtube:
        one, two = (identity_through(youtube, name, user_agent=f"agent-{name}") for name in ("one", "two"))
        fetched(youtube_fetch(tmp_path, one, two), youtube_job(identity="two"))
        assert {request.identity for request in youtube.requests} == {"two"}
        assert "agent-two" in {request.user_agent for request in youtube.asked("/videoplayback")}
