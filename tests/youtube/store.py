"""A store that a search fills from the double, through the command line, and what may not be in it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from mien.cluster.cli import cli
from tests.webdataset_samples import ReadSample, read_shards
from tests.youtube import YouTubeDouble

QUERIES = ("people talking to a camera", "vlog שיחה 🎙️")
PASSWORD, COOKIE = "pr0xy-geheim-7733", "k3ks-geheim-998877"
EXIT_WITH_FAILURES = 3


def configure(folder: Path, youtube: YouTubeDouble, *names: str, **acquire: object) -> None:
    cookies = folder / "cookies.txt"
    cookies.write_text(
        f"# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t4102444800\tLOGIN_INFO\t{COOKIE}\n"
    )
    cookies.chmod(0o600)
    lines = [
        "[store]",
        f"root = {json.dumps(str(folder / 'store'))}",
        "[fetch]",
        "timeout_seconds = 10",
        "[acquire]",
        "wait = false",
        "retry_seconds = 0.5",
        *(f"{name} = {json.dumps(value)}" for name, value in acquire.items()),
        "[acquire.ytdlp_options]",
        "nocheckcertificate = true",
        "[acquire.ytdlp_options.extractor_args.youtube]",
        'player_client = ["visionos"]',
        'player_skip = ["configs", "js"]',
    ]
    for name in names:
        lines += [
            "[[acquire.identities]]",
            f'name = "{name}"',
            f'proxy = "{youtube.proxy_of(name)}"',
            f"cookies_file = {json.dumps(str(cookies))}",
            "videos_per_hour = 0",
        ]
    (folder / "mien.toml").write_text("\n".join(lines) + "\n")


def mien_json(folder: Path, *arguments: str) -> Any:
    """The JSON that a command prints, in this process: forty of their own would take minutes.

    No variable stays, since fixtures that outlive a test ask, too.
    """
    own = {name: os.environ.get(name) for name in ("MIEN_WEIGHTS_LICENCE", "MIEN_WEIGHTS_DIR")}
    with contextlib.chdir(folder):
        shown = CliRunner().invoke(cli, [*arguments], env=own)
    assert shown.exit_code == 0, (arguments, shown.output, shown.exception)
    return json.loads(shown.output)


def samples_of(folder: Path) -> dict[str, list[ReadSample]]:
    """By video id; no key is there twice."""
    found: dict[str, list[ReadSample]] = {}
    samples = list(read_shards(folder / "store" / "shards"))
    assert max(Counter(sample.key for sample in samples).values(), default=0) <= 1
    for sample in samples:
        found.setdefault(sample.meta["video"]["id"], []).append(sample)
    return found


def assert_no_secret(folder: Path, *commands: subprocess.CompletedProcess[str]) -> None:
    for secret in (PASSWORD, COOKIE):
        for done in commands:
            assert secret not in done.stdout + done.stderr
        for path in (folder / "store").rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
