"""One run over a hundred hostile files and one good film: each has its own outcome."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.damaged_films import corrupt_stream
from tests.demo_media import demo_clip, needs_weights
from tests.hostile_files import make_hostile
from tests.mien_command import mien, mien_in_process

pytestmark = pytest.mark.slow

EXIT_WITH_FAILURES = 3
KEEP = ("--set", "fetch.duplicates=keep")
"""Many of the files have the same content under hostile names."""


@dataclass(frozen=True, slots=True)
class Ran:
    folder: Path
    talks: Path
    expected: dict[Path, str]
    """For every file: "done", or the error class of the file or of its only segment."""
    done: CompletedProcess[str]
    facts: dict[str, Any]
    seen: dict[Path, dict[str, Any]]
    """The output of `mien explain --json` for each file after the run."""

    @property
    def failed(self) -> Counter[str]:
        return Counter(name for name in self.expected.values() if name != "done")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    needs_weights()
    folder = tmp_path_factory.mktemp("hostile run")
    films = folder / "films"
    talks = demo_clip("talks.mp4")
    expected: dict[Path, str] = {}
    for one in make_hostile(films, talks):
        # A folder is walked. It cannot fail, and gets no row.
        if not one.skip and one.name != "directory":
            expected[one.path] = "done" if one.outcome == "ok" else one.outcome
        if one.name.startswith("damaged video"):
            expected[one.path] = "done"  # nobody speaks in it, so its pictures are never looked at
    expected[corrupt_stream(talks, films / "torn pictures.mp4", "video")] = "CorruptMediaError"
    expected[corrupt_stream(talks, films / "torn sound.mp4", "audio")] = "CorruptMediaError"
    later = films / "a folder by now.mp4"
    later.touch()
    expected[later] = "NotAFileError"
    expected[talks] = "done"
    # Relative paths, so that a name can start with a dash.
    named = [path.relative_to(films) if path != talks else path for path in expected]
    added = mien("add", "--json", "--", *named, films / "folder.mp4", folder=films, **store(folder))
    assert added.returncode == 0, added.stderr
    assert len(json.loads(added.stdout)["new"]) == len(expected)
    later.unlink()
    later.mkdir()
    done = mien("run", "--json", *KEEP, folder=folder)
    return Ran(folder, talks, expected, done, json.loads(done.stdout), explained(folder, expected))


def store(folder: Path) -> dict[str, str]:
    return {"MIEN_STORE__ROOT": str(folder / "store")}


def explained(folder: Path, paths: Sequence[Path] | dict[Path, str]) -> dict[Path, dict[str, Any]]:
    """Runs the command in this process, because a hundred processes would take a minute."""
    histories = {}
    for path in paths:
        shown = mien_in_process("explain", "--json", "--", path, folder=folder)
        assert shown.exit_code == 0, (path, shown.exception)
        histories[path] = json.loads(shown.output)
    return histories


def outcome(history: dict[str, Any]) -> str:
    classes = {segment["error_class"] for segment in history["segments"]} - {None}
    if history["state"] == "partial":
        (only,) = classes
        return str(only)
    return str(history["error_class"] or history["state"])


def samples_of(folder: Path, video_key: str) -> dict[str, bytes]:
    """All members of all samples of a video, by name."""
    members = {}
    for shard in sorted((folder / "store" / "shards").glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.name.startswith(video_key):
                    content = archive.extractfile(member)
                    assert content is not None
                    members[member.name] = content.read()
    return members


def test_every_file_has_its_outcome(ran: Ran) -> None:
    assert len(ran.expected) - list(ran.expected.values()).count("done") > 50
    assert {path: outcome(history) for path, history in ran.seen.items()} == ran.expected


def test_raw_errors_are_recorded(ran: Ran) -> None:
    for path, history in ran.seen.items():
        for entry in (history, *history["segments"]):
            if entry["error_class"]:
                headline, _, raised = entry["error_text"].partition("\n")
                assert path.name in headline
                assert f"{entry['error_class']}: " in raised


def test_explain_prints_history(ran: Ran) -> None:
    (torn,) = [path for path in ran.expected if path.name == "torn sound.mp4"]
    shown = mien_in_process("explain", torn, folder=ran.folder).output
    output, _, raised = shown.partition("  raw error\n")
    assert "CorruptMediaError in split" in output
    assert "sound cannot be decoded" in output
    assert "Traceback" not in output
    assert "Invalid data found when processing input" in raised


def test_exit_code_and_counts_match(ran: Ran) -> None:
    assert ran.done.returncode == EXIT_WITH_FAILURES
    assert "Traceback" not in ran.done.stderr
    status = json.loads(mien("status", "--json", folder=ran.folder).stdout)
    for facts in (ran.facts, status):
        assert Counter(facts["video_errors"]) + Counter(facts["segment_errors"]) == ran.failed
        assert facts["segment_errors"] == {"CorruptMediaError": 1}
        states = Counter(history["state"] for history in ran.seen.values())
        assert {state: count for state, count in facts["videos"].items() if count} == states
        assert states == {
            "done": len(ran.expected) - ran.failed.total(),
            "partial": 1,
            "failed": ran.failed.total() - 1,
        }
        # Every second of the probed media is accounted for.
        assert sum(facts["seconds_by_fate"].values()) == pytest.approx(facts["media_seconds"], abs=0.1)


def test_good_film_is_unaffected_by_bad_ones(ran: Ran, tmp_path: Path) -> None:
    assert mien("add", ran.talks, folder=tmp_path).returncode == 0
    assert mien("run", "--local", folder=tmp_path).returncode == 0
    video = ran.seen[ran.talks]["video"]
    key = f"{video['source']}-{video['id']}"
    alone = samples_of(tmp_path, key)
    assert len(alone) >= 7
    assert samples_of(ran.folder, key) == alone


def test_retry_by_class_fails_again(ran: Ran) -> None:
    before = samples_of(ran.folder, "")
    wanted = {path for path, name in ran.expected.items() if name == "CorruptMediaError"}
    wanted |= {path for path, name in ran.expected.items() if name == "NotMediaError"}
    for name in ("CorruptMediaError", "NotMediaError"):
        output = mien("retry", "--class", name, folder=ran.folder)
        assert output.stdout.startswith(f"{ran.failed[name]} video")
    waiting = {
        path for path, history in explained(ran.folder, ran.expected).items() if history["state"] == "waiting"
    }
    assert waiting == wanted
    again = mien("run", "--local", "--json", *KEEP, folder=ran.folder)
    assert again.returncode == EXIT_WITH_FAILURES
    facts = json.loads(again.stdout)
    same = ("videos", "segments", "video_errors", "segment_errors", "seconds_by_fate", "samples", "shards")
    assert {name: facts[name] for name in same} == {name: ran.facts[name] for name in same}
    assert samples_of(ran.folder, "") == before
    verified = mien("verify", folder=ran.folder)
    assert verified.returncode == 0, verified.stdout


def test_retry_of_absent_class_lists_classes(ran: Ran) -> None:
    output = mien("retry", "--class", "GoneError", folder=ran.folder)
    assert output.returncode == 0
    assert output.stdout.startswith(
        "0 videos put back into the queue for the next `mien run`\nfailures in the catalog: "
    )
    assert "TruncatedMediaError (" in output.stdout
    output = mien("retry", "--class", "TruncatedError", folder=ran.folder)
    assert output.returncode == 2
    assert "unknown error class TruncatedError; did you mean TruncatedMediaError?" in output.stderr
