"""A video that is known learns what a table says of it later; what is written stays as it is."""

from __future__ import annotations

from dataclasses import replace

from mien.ingest.catalog import Catalog
from mien.ingest.media import VideoRef
from tests.ingest.catalog.makers import begin, ref, segment, shard


def labelled(name: str, *, query: str = "table", title: str = "", **labels: str) -> VideoRef:
    return replace(ref(name, query=query), labels=labels, title=title)


def labels_of(catalog: Catalog, name: str) -> dict[str, str]:
    story = catalog.explain(f"folder-{name}")
    assert story is not None
    return story.video.labels


def test_labels_are_merged_and_the_last_word_counts(catalog: Catalog) -> None:
    catalog.add([labelled("a", query="search", title="A talk", speaker="Ann", mood="calm")])
    added = catalog.add([labelled("a", title="Other", mood="glad", place="hall"), labelled("b", mood="sad")])
    assert (added.new, added.known) == (["folder-b"], ["folder-a"])
    assert (added.labelled, added.written) == (["folder-a"], [])
    assert labels_of(catalog, "a") == {"speaker": "Ann", "mood": "glad", "place": "hall"}
    story = catalog.explain("folder-a")
    assert story is not None
    assert (story.video.title, story.queries) == ("A talk", ["search", "table"])
    assert [(event.what, event.text) for event in story.events] == [("learned", "mood=glad, place=hall")]
    [job] = [job for job in catalog.claim(begin(catalog), limit=9) if job.key == "folder-a"]
    assert job.video.labels["mood"] == "glad", "the samples get them"


def test_what_says_nothing_new_changes_nothing(catalog: Catalog) -> None:
    catalog.add([labelled("a", mood="calm")])
    for said in (labelled("a", mood="calm"), ref("a", query="again")):
        added = catalog.add([said])
        assert (added.known, added.labelled, added.written) == (["folder-a"], [], [])
    story = catalog.explain("folder-a")
    assert story is not None and story.events == []


def test_a_name_is_taken_where_there_is_none(catalog: Catalog) -> None:
    catalog.add([ref("a")])
    assert catalog.add([replace(ref("a"), title="T", channel="C", licence="cc")]).labelled == ["folder-a"]
    story = catalog.explain("folder-a")
    assert story is not None
    assert (story.video.title, story.video.channel, story.video.licence) == ("T", "C", "cc")


def test_two_rows_of_one_batch_are_merged_too(catalog: Catalog) -> None:
    added = catalog.add([labelled("a", one="1"), labelled("a", two="2")])
    assert (added.new, added.labelled) == (["folder-a"], [])
    assert labels_of(catalog, "a") == {"one": "1", "two": "2"}


def test_what_is_written_stays_and_nothing_is_made_again(catalog: Catalog) -> None:
    catalog.add([ref("done"), ref("dropped"), ref("running"), ref("new")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=3)
    catalog.commit_shard(run_id, shard("s", run_id), [segment("done", 0, samples=2)])
    catalog.record_done(run_id, [segment("dropped", 0)])
    for name in ("done", "dropped"):
        catalog.record_split(run_id, f"folder-{name}", 1)
    names = ["done", "dropped", "running", "new"]
    added = catalog.add([labelled(name, mood="calm") for name in names])
    assert sorted(added.labelled) == sorted(f"folder-{name}" for name in names)
    assert sorted(added.written) == ["folder-done", "folder-running"]
    states = catalog.states([f"folder-{name}" for name in names])
    assert [states[f"folder-{name}"] for name in names] == ["done", "done", "running", "waiting"]
