"""Runs every command in the README's code blocks, in order, and compares its tables with the code."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mien.cluster.cli.main import COMMANDS, EXIT_FAILED, EXIT_INTERNAL_ERROR, EXIT_INTERRUPTED, EXIT_USAGE
from mien.cluster.config import load
from mien.ingest import errors
from mien.ingest.errors import Policy
from mien.pipelines.data import DROP_REASONS
from mien.pipelines.weights.cache import cache_folder
from tests.demo_media import demo_clip, needs_weights
from tests.webdataset_samples import read_shards
from tests.youtube import Video, YouTubeDouble
from tests.youtube.video_kinds import TALK_SECONDS, make_talk

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command_lines(*code_blocks: str) -> list[str]:
    """The lines without comments and blank lines."""
    return [
        line.partition(" #")[0].strip()
        for block in code_blocks
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def table(heading: str) -> list[list[str]]:
    """The cells of each row of the table with this heading line."""
    (rows,) = re.findall(rf"^{re.escape(heading)}\n\|[-|]+\|\n(.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


SEARCH = command_lines(*(block for block in blocks("sh") if "mien search" in block))
"""The commands of the block that needs a video platform."""
OTHERS = command_lines(*(block for block in blocks("sh") if "mien search" not in block))
LINES = OTHERS + SEARCH
MAKE = [line for line in LINES if line.startswith("make ")]
MIEN = [line for line in OTHERS if line.startswith("mien ")]
GROUPS = {"shards"}


def test_every_command_line_is_tested() -> None:
    assert set(LINES) == {*MAKE, *MIEN, *SEARCH, "source .venv/bin/activate"}
    assert "BIN := .venv/bin\n" in (ROOT / "Makefile").read_text()
    assert len(MAKE) >= 6
    assert len(MIEN) >= 7


@pytest.mark.parametrize("line", MAKE)
def test_make_targets_exist(line: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        [*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a user whose home is `folder`/home."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("MIEN_")},
        "HOME": str(folder / "home"),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MIEN_WEIGHTS_DIR": str(cache_folder()),
    }


def run_lines(lines: list[str], folder: Path) -> dict[str, str]:
    """Runs the lines with bash in `folder`/work. Returns the last output of each command, by its name."""
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "mien"
    program.write_text(f"#!{sys.executable}\nfrom mien.cluster.cli import main\nmain()\n")
    program.chmod(0o755)
    output = {}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=folder / "work",
            env=environment_of(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        words = line.split()
        output[" ".join(words[1 : 3 if words[1] in GROUPS else 2])] = done.stdout
    return output


@pytest.mark.slow
def test_search_section_runs(tmp_path: Path) -> None:
    needs_weights()
    home, work = tmp_path / "home", tmp_path / "work"
    films = [make_talk(work, number) for number in range(4)]
    (home / "ravdess" / "Actor_01").mkdir(parents=True)
    films[2].rename(home / "ravdess" / "Actor_01" / "01-01-05-01-01-01-01.mp4")
    (work / "talks.csv").write_text(f"path,mood\n{films[3].name},calm\n")
    found = {"creative_commons": True, "channel": "Some Channel", "duration_seconds": TALK_SECONDS}
    videos = [Video(id=f"aaaaaaaaaa{n}", media=film, **found) for n, film in enumerate(films[:2])]  # type: ignore[arg-type]
    with YouTubeDouble(videos) as youtube:
        (work / "mien.toml").write_text(
            f"""
            [acquire.ytdlp_options]
            nocheckcertificate = true
            extractor_args.youtube = {{ player_client = ["visionos"], player_skip = ["configs", "js"] }}
            [[acquire.identities]]
            name = "home"
            proxy = "{youtube.proxy}"
            """
        )
        output = run_lines(SEARCH, tmp_path)
    assert "4 done" in output["status"]
    assert "identity  home on youtube: " in output["status"]
    samples = {
        sample.meta["video"]["id"]: sample.meta["video"] for sample in read_shards(work / "mien-store/shards")
    }
    assert len(samples) == 4
    assert samples["aaaaaaaaaa0"]["query"] == "ASL sign language vlog"
    labels = [video["labels"] for video in samples.values()]
    assert {"mood": "calm"} in labels
    assert "angry" in [each.get("emotion") for each in labels]


@pytest.mark.slow
def test_own_videos_section_runs(tmp_path: Path) -> None:
    needs_weights()
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home / "talks", work):
        folder.mkdir(parents=True)
    shutil.copy(demo_clip("no_face.mp4"), home / "talks" / "landscape.mp4")
    shutil.copy(demo_clip("talks.mp4"), work / "interview.mp4")
    output = run_lines(MIEN, tmp_path)
    assert output["add"].startswith("2 new, 0 already known")
    assert '"samples": 2' in output["run"]
    assert "2 done" in output["status"]
    assert "interview.mp4" in output["explain"]
    assert "2 samples: all intact" in output["verify"]
    assert "1 shard, 2 samples" in output["shards ls"]
    assert output["shards stats"].startswith("2 samples of 1 video, ")
    kinds = [Path(line).suffix for line in output["shards show"].splitlines()]
    assert kinds == [".mp4", ".srt", ".wav", ".png", ".json"]
    assert len(list((work / "clean").glob("*.wav"))) == 2
    check_reader_example(tmp_path)
    members = {row[0].strip("`") for row in table("| member | content |")}
    for sample in read_shards(work / "mien-store" / "shards"):
        assert sample.members == members


def check_reader_example(folder: Path) -> None:
    program = blocks("python")[0]
    printed = "print(epoch, tuple(batch['faces'].shape), state['samples_consumed'], len(batch['text']))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}{printed}\n"],
        cwd=folder / "work",
        env=environment_of(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 (2, 16, 128, 128, 3) 0 2\n"


def test_named_modules_exist() -> None:
    named = re.findall(r"`(?:torchrun[^`]*|python) -m ([\w.]+)", README)
    assert len(named) >= 2
    for name in named:
        assert (ROOT / "src" / f"{name.replace('.', '/')}.py").is_file()


def test_configuration_blocks_load(tmp_path: Path) -> None:
    block = "\n".join(blocks("toml"))
    everything = re.sub(r"^# (\w+ = )", r"\1", block, flags=re.MULTILINE)
    for text in (block, everything):
        file = tmp_path / "mien.toml"
        file.write_text(text)
        loaded = load(file=file, environment={})
        for section, values in tomllib.loads(text).items():
            for key in values:
                assert loaded.origin(f"{section}.{key}").kind == "file"
    assert loaded.settings.store.shards == "s3://bucket/prefix"
    assert loaded.settings.faces.detector == "yunet_2023mar"


def test_named_commands_exist() -> None:
    inline = re.findall(r"`mien ([a-z]+)", README)
    assert set(inline) <= set(COMMANDS)
    for key, value in re.findall(r"`(?:mien \w+ )?--set (\w+\.\w+)=([^`…]+)", README):
        load(flags=[f"{key}={value}"], environment={})


def test_drop_reasons_match_the_code() -> None:
    rows = table("| reason | meaning |")
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(DROP_REASONS)


def test_error_policies_match_the_code() -> None:
    expected = {
        "permanent": Policy.PERMANENT,
        "retry": Policy.RETRY,
        "retry later": Policy.RETRY,
        "circuit": Policy.RETRY,
        "stop": Policy.STOP,
    }
    rows = table("| policy | examples | what mien does |")
    assert [row[0] for row in rows] == [*expected]
    for policy, examples, _ in rows:
        for name in re.findall(r"`(\w+Error)`", examples):
            error = getattr(errors, name)
            assert error.circuit == (policy == "circuit"), name
            assert error.policy == expected[policy], name


def test_exit_codes_match_the_code() -> None:
    codes = {int(code) for row in table("| exit code | meaning |") for code in row[0].split(",")}
    assert codes >= {0, EXIT_FAILED, EXIT_USAGE, EXIT_INTERNAL_ERROR, EXIT_INTERRUPTED}


def test_named_paths_exist() -> None:
    inline = re.findall(r"`([\w./-]+(?:/|\.py))`", README)
    assert len(inline) >= 30
    assert not [path for path in inline if not (ROOT / path).exists() and "/" in path.rstrip("/")]
