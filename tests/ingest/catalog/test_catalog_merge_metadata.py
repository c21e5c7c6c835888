"""A known video gets metadata from a later table; existing samples do not change."""

from __future__ import annotations

from dataclasses import replace

from mien.ingest.catalog import Catalog
from mien.ingest.media import VideoRef
from tests.ingest.catalog.makers import begin, ref, segment, shard


def labelled(name: str, *, query: str = "table", title: str = "", **labels: str) -> VideoRef:
    return replace(ref(name, query=query), labels=labels, title=title)


def labels_of(catalog: Catalog, name: str) -> dict[str, str]:
    history = catalog.explain(f"folder-{name}")
    assert history is not None
    return history.video.labels


def test_labels_are_merged_latest_value_wins(catalog: Catalog) -> None:
    catalog.add([labelled("a", query="search", title="A talk", speaker="Ann", mood="calm")])
    added = catalog.add([labelled("a", title="Other", mood="glad", place="hall"), labelled("b", mood="sad")])
    assert (added.new, added.known) == (["folder-b"], ["folder-a"])
    assert (added.labelled, added.written) == (["folder-a"], [])
    assert labels_of(catalog, "a") == {"speaker": "Ann", "mood": "glad", "place": "hall"}
    history = catalog.explain("folder-a")
    assert history is not None
    assert (history.video.title, history.queries) == ("A talk", ["search", "table"])
    assert [(event.what, event.text) for event in history.events] == [("learned", "mood=glad, place=hall")]
    [job] = [job for job in catalog.claim(begin(catalog), limit=9) if job.key == "folder-a"]
    assert job.video.labels["mood"] == "glad", "the samples get them"


def test_known_metadata_changes_nothing(catalog: Catalog) -> None:
    catalog.add([labelled("a", mood="calm")])
    for recorded in (labelled("a", mood="calm"), ref("a", query="again")):
        added = catalog.add([recorded])
        assert (added.known, added.labelled, added.written) == (["folder-a"], [], [])
    history = catalog.explain("folder-a")
    assert history is not None and history.events == []


def test_only_empty_titles_are_set(catalog: Catalog) -> None:
    catalog.add([ref("a")])
    assert catalog.add([replace(ref("a"), title="T", channel="C", licence="cc")]).labelled == ["folder-a"]
    history = catalog.explain("folder-a")
    assert history is not None
    assert (history.video.title, history.video.channel, history.video.licence) == ("T", "C", "cc")


def test_rows_of_one_batch_are_merged(catalog: Catalog) -> None:
    added = catalog.add([labelled("a", one="1"), labelled("a", two="2")])
    assert (added.new, added.labelled) == (["folder-a"], [])
    assert labels_of(catalog, "a") == {"one": "1", "two": "2"}


def test_new_labels_do_not_redo_samples(catalog: Catalog) -> None:
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
