"""Identities have budgets, and their secrets are never shown."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from mien.cluster.config import load
from mien.cluster.config.show import as_json, as_toml, redact
from mien.ingest.errors import ConfigError
from mien.ingest.rate.identity import DIRECT, Identity

TABLES = """
[acquire]
ytdlp_options = { username = "me-7391", password = "swordfish", http_headers = { Cookie = "swordfish" } }
[[acquire.identities]]
name = "home"
proxy = "socks5://somebody:swordfish@proxy.example:1080"
po_token = "swordfish"
cookies_file = "/etc/mien/cookies.txt"
videos_per_hour = 1000
[[acquire.identities]]
name = "away"
"""


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    path = tmp_path / "mien.toml"
    path.write_text(TABLES)
    return path


def test_tables_become_identities(configured: Path) -> None:
    settings = load(file=configured, environment={}).settings
    home, away = settings.acquire.identities
    assert (home.name, home.videos_per_hour, home.requests_per_hour) == ("home", 1000, 0)
    assert away == Identity("away")
    assert settings.fetch.identities == (home, away)
    assert load(environment={}, file=None).settings.acquire.identities == (DIRECT,)


def test_scalars_come_from_the_environment_and_flags_too(configured: Path) -> None:
    loaded = load(
        file=configured,
        environment={"MIEN_ACQUIRE__KEEP_MEDIA": "always", "MIEN_ACQUIRE__MEDIA_BUDGET_BYTES": "5"},
        flags=["acquire.wait=false"],
    )
    acquire = loaded.settings.acquire
    assert (acquire.keep_media, acquire.media_budget_bytes, acquire.wait) == ("always", 5, False)


def test_secrets_are_not_shown_or_stored(configured: Path) -> None:
    loaded = load(file=configured, environment={})
    stored = json.dumps(redact(loaded.settings), default=str)
    for text in (as_toml(loaded), json.dumps(as_json(loaded), default=str), stored):
        assert "swordfish" not in text
        assert "somebody" not in text
        assert "me-7391" not in text
        assert "/etc/mien/cookies.txt" in text
        assert "proxy.example" in text
    assert "swordfish" not in repr(loaded.settings.acquire.identities)
    assert "swordfish" not in repr(loaded.settings.acquire.identities[0].redacted)
    assert tomllib.loads(as_toml(loaded))["acquire"]["identities"][0]["po_token"] == "***"  # noqa: S105


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('name = "a"\nproxi = "http://u:swordfish@host"', "acquire.identities.0.proxi"),
        ('name = "a"\nproxy = "swordfish"', "proxy is not an address"),
        ('name = "a"\npo_token = 7391', "po_token"),
        ('name = "a b"', "an identity's name"),
        ('name = "a"\nvideos_per_hour = -1', "videos_per_hour is 0"),
        ('name = "a"\n[[acquire.identities]]\nname = "a"', "two identities are called a"),
    ],
)
def test_bad_table_hides_its_values(tmp_path: Path, table: str, expected: str) -> None:
    path = tmp_path / "mien.toml"
    path.write_text(f"[[acquire.identities]]\n{table}\n")
    with pytest.raises(ConfigError, match=expected) as caught:
        load(file=path, environment={})
    assert "swordfish" not in str(caught.value)
    assert "7391" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["http://a:b@host:1", "http://a%40b:c%2F@host", "socks5h://token@host:1/", "http://a:b:c@host"]
)
def test_redacted_hides_the_whole_login(proxy: str) -> None:
    shown = Identity("a", proxy=proxy, po_token="t").redacted  # noqa: S106
    assert shown.proxy.startswith(proxy.partition("://")[0] + "://***@host")
    assert dataclasses.replace(shown, proxy="", po_token="") == Identity("a")
