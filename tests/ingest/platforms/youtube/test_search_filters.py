"""YouTube's own filters are used where they lose nothing, as the double's reading of them shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import ConfigError
from mien.ingest.media import SearchFilter
from mien.ingest.platforms.acceptance import day, reason_against
from mien.ingest.platforms.youtube.filters import search_parameter
from tests.youtube.filters import matching
from tests.youtube.video import Video

TODAY = date(2026, 11, 20)


def test_no_filter_matches_yt_dlp() -> None:
    assert search_parameter(SearchFilter(), newest_first=False, today=TODAY) == "EgIQAfABAQ=="


@pytest.mark.parametrize(
    ("requested", "fits", "fits_not"),
    [
        (SearchFilter(licence="cc"), Video(id="a" * 11, creative_commons=True), Video(id="b" * 11)),
        (
            SearchFilter(min_seconds=1300),
            Video(id="a" * 11, duration_seconds=1300),
            Video(id="b" * 11, duration_seconds=900),
        ),
        (
            SearchFilter(min_seconds=300, max_seconds=600),
            Video(id="a" * 11, duration_seconds=300),
            Video(id="b" * 11, duration_seconds=1800),
        ),
        (
            SearchFilter(max_seconds=100),
            Video(id="a" * 11, duration_seconds=100),
            Video(id="b" * 11, duration_seconds=300),
        ),
        (
            SearchFilter(after="2026-11-05"),
            Video(id="a" * 11, uploaded=date(2026, 11, 5)),
            Video(id="b" * 11, uploaded=date(2026, 3, 1)),
        ),
        (
            SearchFilter(after="2026-02-01"),
            Video(id="a" * 11, uploaded=date(2026, 2, 1)),
            Video(id="b" * 11, uploaded=date(2024, 3, 1)),
        ),
    ],
)
def test_youtube_filters_where_it_can(requested: SearchFilter, fits: Video, fits_not: Video) -> None:
    params = search_parameter(requested, newest_first=False, today=TODAY)
    assert matching([fits_not, fits], params, TODAY) == [fits]


def test_newest_first() -> None:
    old, new = Video(id="a" * 11, uploaded=date(2020, 1, 1)), Video(id="b" * 11, uploaded=date(2025, 1, 1))
    params = search_parameter(SearchFilter(), newest_first=True, today=TODAY)
    assert matching([old, new], params, TODAY) == [new, old]


seconds = st.one_of(st.none(), st.integers(1, 4000).map(float))
days = st.one_of(st.just(""), st.integers(0, 900).map(lambda ago: (TODAY - timedelta(ago)).isoformat()))


@given(
    seconds,
    seconds,
    days,
    st.sampled_from(["", "cc"]),
    st.integers(1, 4000),
    st.integers(0, 900),
    st.booleans(),
)
def test_no_matching_video_is_lost(
    least: float | None, most: float | None, after: str, licence: str, length: int, ago: int, free: bool
) -> None:
    requested = SearchFilter(min_seconds=least, max_seconds=most, after=after, licence=licence)
    uploaded = TODAY - timedelta(ago)
    is_match = (
        (least is None or length >= least)
        and (most is None or length <= most)
        and (not after or uploaded >= day(after))
        and (not licence or free)
    )
    video = Video(id="a" * 11, duration_seconds=length, uploaded=uploaded, creative_commons=free)
    if is_match:
        params = search_parameter(requested, newest_first=False, today=TODAY)
        assert matching([video], params, TODAY) == [video]
        # As yt-dlp makes a time of "2 years ago": the latest that it may stand for.
        shown = TODAY - timedelta(ago // 365 * 365 if ago >= 365 else ago)
        timestamp = datetime(shown.year, shown.month, shown.day, tzinfo=UTC).timestamp()
        assert reason_against({"duration": length, "timestamp": timestamp}, requested) == ""


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"duration": 59}, "too short"),
        ({"duration": 61}, "too long"),
        ({"duration": 60, "timestamp": 1_577_836_800}, "published before 2024-01-01"),
        ({"live_status": "is_live"}, "live now"),
        ({"title": "[Private video]"}, "private or deleted"),
        ({"title": "[Private video]", "duration": 60}, ""),
        ({"duration": None}, ""),
        ({}, ""),
    ],
)
def test_certain_mismatches_are_left_out(entry: dict[str, object], reason: str) -> None:
    requested = SearchFilter(min_seconds=60, max_seconds=60, after="2024-01-01", language="de", licence="cc")
    assert reason_against(entry, requested) == reason


def test_a_date_is_a_date() -> None:
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        day("last year")
