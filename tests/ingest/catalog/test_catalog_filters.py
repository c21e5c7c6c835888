"""Search filters are stored; a video must pass one of them, and no filter accepts every video."""

from dataclasses import replace

import pytest

from mien.ingest.catalog import Catalog, VideoFailure
from mien.ingest.errors import FilteredOutError, Policy
from mien.ingest.media import SearchFilter
from tests.ingest.catalog.makers import begin, ref

FREE = SearchFilter(licence="cc")
GERMAN = SearchFilter(language="de", after="2024-01-01", min_seconds=60.0, max_seconds=600.0)


def test_job_has_the_search_filters(catalog: Catalog) -> None:
    catalog.add([replace(ref("a"), filters=(FREE, GERMAN)), ref("b")])
    first, second = catalog.claim(begin(catalog), limit=2)
    assert (first.video.filters, second.video.filters) == ((FREE, GERMAN), ())


def test_filters_of_two_searches_are_alternatives(catalog: Catalog) -> None:
    catalog.add([replace(ref("a"), filters=(FREE,)), replace(ref("a", query="2"), filters=(GERMAN,))])
    catalog.add([replace(ref("a"), filters=(GERMAN,)), replace(ref("b"), filters=(FREE,))])
    catalog.add([replace(ref("b"), filters=(GERMAN,))])
    assert [job.video.filters for job in catalog.claim(begin(catalog), limit=9)] == [(FREE, GERMAN)] * 2


@pytest.mark.parametrize("first", [(), (FREE,)])
def test_search_without_filter_removes_filters(catalog: Catalog, first: tuple[SearchFilter, ...]) -> None:
    catalog.add([replace(ref("a"), filters=first)])
    catalog.add([replace(ref("a"), filters=(FREE,) if not first else ())])
    assert catalog.claim(begin(catalog), limit=1)[0].video.filters == ()


@pytest.mark.parametrize(("again", "waiting"), [((FREE,), 0), ((FREE, GERMAN), 1), ((), 1)])
def test_refused_video_waits_after_wider_search(
    catalog: Catalog, again: tuple[SearchFilter, ...], waiting: int
) -> None:
    catalog.add([replace(ref("a"), filters=(FREE,))])
    run = begin(catalog)
    catalog.claim(run, limit=1)
    failure = VideoFailure(
        key="folder-a",
        stage="fetch",
        error_class=FilteredOutError.__name__,
        text="not under Creative Commons",
        policy=Policy.PERMANENT,
    )
    catalog.record_video_failure(run, failure)
    result = catalog.add([replace(ref("a"), filters=again)])
    assert result.known == ["folder-a"]
    assert catalog.status().videos["waiting"] == waiting
