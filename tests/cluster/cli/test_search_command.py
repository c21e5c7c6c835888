"""`mien search` through the command line, against the YouTube double."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.cluster.report.formatting import format_length, terminal_safe
from mien.cluster.runner.search import round_robin
from mien.ingest.catalog import Catalog
from mien.ingest.media import SearchFilter
from mien.ingest.rate.identity import Identity
from tests.youtube import Fault, Video, YouTubeDouble

MAIN = [sys.executable, "-c", "from mien.cluster.cli import main; main()"]


@pytest.fixture
def youtube(tmp_path: Path) -> Iterator[YouTubeDouble]:
    videos = [Video(id=f"video_{number:05d}", title=f"Talk {number}") for number in range(30)]
    videos[3] = Video(id="video_00003", title="🎙️ \x1b[31m[b]שיחה\u202e", duration_seconds=3723)
    with YouTubeDouble(videos) as double:
        double.results["few"] = [f"video_{number:05d}" for number in (28, 1, 29)]
        (tmp_path / "mien.toml").write_text(
            f"""
            [[acquire.identities]]
            name = "north"
            proxy = "{double.proxy_of("north")}"
            [acquire.ytdlp_options]
            nocheckcertificate = true
            """
        )
        yield double


def mien(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MIEN_")}
    environment = {**clean, "COLUMNS": "100", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(
        [*MAIN, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )


def catalog(folder: Path) -> Catalog:
    return Catalog.open(f"sqlite:///{folder}/mien-store/catalog.sqlite")


@pytest.mark.slow
@pytest.mark.usefixtures("youtube")
def test_repeated_search_adds_only_new_videos(tmp_path: Path) -> None:
    first = mien("search", "people talking", "few", "--max", "5", "--licence", "any", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "7 new, 0 already known",
        "  people talking: 5 new, 0 known",
        "  few: 2 new, 1 known",
    ]
    again = mien("search", "people talking", "--max", "8", cwd=tmp_path)
    assert again.stdout == "3 new, 5 already known\n"
    with catalog(tmp_path) as known:
        history = known.explain("video_00001")
        assert history is not None and history.queries == ["people talking", "few"]
        assert known.status().videos["waiting"] == 10


@pytest.mark.slow
@pytest.mark.usefixtures("youtube")
def test_dry_run_adds_nothing(tmp_path: Path) -> None:
    done = mien("search", "people talking", "--max", "4", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "mien-store").exists()
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["id", "duration", "title", "channel"]
    assert lines[-1] == "4 would be new, 0 already known"
    strange = next(line for line in lines if "video_00003" in line)
    assert "1:02:03" in strange and "\u2068🎙️ [31m[b]שיחה\u2069" in strange
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    mien("search", "people talking", "--max", "2", cwd=tmp_path)
    again = mien("search", "people talking", "--max", "4", "--dry-run", "--json", cwd=tmp_path)
    facts = json.loads(again.stdout)
    assert (facts["new"], facts["known"], facts["requests"]) == (2, 2, {"north": 1})
    assert [video["new"] for video in facts["videos"]] == [True, True, False, False]
    with catalog(tmp_path) as known:
        assert known.status().videos["waiting"] == 2


@pytest.mark.slow
def test_wishes_are_remembered(youtube: YouTubeDouble, tmp_path: Path) -> None:
    youtube.videos["video_00000"] = Video(id="video_00000", creative_commons=True, duration_seconds=30)
    youtube.videos["video_00001"] = Video(id="video_00001", creative_commons=True, duration_seconds=600)
    arguments = ("--licence", "cc", "--duration", "60-900", "--language", "de", "--after", "2023-01-01")
    done = mien("search", "people talking", *arguments, cwd=tmp_path)
    assert done.stdout.splitlines() == ["1 new, 0 already known", "skipped 1 too short"]
    expected = SearchFilter(after="2023-01-01", min_seconds=60, max_seconds=900, language="de", licence="cc")
    with catalog(tmp_path) as known:
        history = known.explain("video_00001")
        assert history is not None and history.video.filters == (expected,)


@pytest.mark.slow
def test_failed_query_does_not_stop_others(youtube: YouTubeDouble, tmp_path: Path) -> None:
    youtube.fault(Fault.SEARCH_CUT)
    done = mien("search", "people talking", "@nobody", "few", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "22 new, 0 already known"
    first, second = done.stderr.splitlines()
    assert first.startswith("mien: people talking: ")
    assert second.startswith("mien: https://www.youtube.com/@nobody")


@pytest.mark.usefixtures("youtube")
@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("--after", "yesterday"), "a date is written"),
        (("--duration", "long"), "Invalid value for '--duration'"),
        (("--duration", "9-3"), "Invalid value for '--duration'"),
        (("--language", "klingon!"), "Invalid value: a language is a code"),
        (("https://youtu.be/short",), "https://youtu.be/short: a video's id"),
        (("--max", "0"), "Invalid value for '--max'"),
    ],
)
def test_wrong_search_usage_is_one_line(
    mien_main: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    arguments: tuple[str, ...],
    output: str,
) -> None:
    done = mien_main("search", "people talking", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"mien: {output}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "mien-store").exists()


@pytest.mark.slow
def test_refusal_opens_circuit_for_all_runs(youtube: YouTubeDouble, tmp_path: Path) -> None:
    assert mien("add", "@Faces", cwd=tmp_path).stdout == "30 new, 0 already known\n"
    youtube.fault(Fault.RATE_LIMITED, times=1)
    done = mien("add", "@Faces", "https://youtu.be/video_00001", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "0 new, 1 already known\n")
    assert done.stderr.startswith("mien: ") and "secret" not in done.stderr
    asked = len(youtube.requests)
    done = mien("search", "people talking", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "identity north is paused until " in done.stderr
    assert len(youtube.requests) == asked
    with catalog(tmp_path) as known:
        (state,) = known.egress((Identity("north"),), "youtube")
        assert (state.error_class, state.requests) == ("RateLimitedError", asked)


def test_queries_alternate() -> None:
    streams = [iter("aaa"), iter(""), iter("b"), iter("cc")]
    assert "".join(round_robin(streams)) == "abcaca"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain", "plain"),
        ("👩‍🏫 family", "👩‍🏫 family"),
        ("a\tb\nc\x00\x1b]0;x\x07", "a b c ]0;x"),
        ("abc\u202edef\u2066\u200e", "abcdef"),
        ("שלום", "\u2068שלום\u2069"),
        ("\ud800half", "\ufffdhalf"),
    ],
)
def test_titles_cannot_affect_the_terminal(text: str, safe: str) -> None:
    assert terminal_safe(text) == safe


def test_format_length() -> None:
    assert [format_length(each) for each in (None, 5.4, 65, 3723)] == ["?", "0:05", "1:05", "1:02:03"]
