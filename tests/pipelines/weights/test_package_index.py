"""Reading pip's configuration."""

from pathlib import Path

import pytest

from mien.ingest.errors import ConfigError
from mien.pipelines.weights.package_index import read_pip_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    return tmp_path


def test_variables_override_file(home: Path) -> None:
    (home / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n    https://b.example/simple\n"
        "    file:///c/simple\ntrusted-host = a.example\n[download]\nno_index = no\n[install]\nindex-url = https://x\n"
    )
    settings = read_pip_settings({"XDG_CONFIG_DIRS": "/nonexistent"})
    assert settings.index_url == "https://a.example/simple"
    assert settings.extra_index_urls == ("https://b.example/simple", "file:///c/simple")
    assert settings.trusted_hosts == ("a.example",)
    assert not settings.no_index
    overridden = read_pip_settings({"PIP_INDEX_URL": "https://d.example/simple", "PIP_FIND_LINKS": "/w /v"})
    assert overridden.index_url == "https://d.example/simple"
    assert overridden.find_links == ("/w", "/v")


def test_pip_config_file_variable_overrides_user_file(home: Path, tmp_path: Path) -> None:
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = https://a.example\n")
    other = tmp_path / "other.conf"
    other.write_text("[global]\nindex-url = https://o.example\nno-index = true\n")
    assert read_pip_settings({"PIP_CONFIG_FILE": str(other)}).index_url == "https://o.example"
    assert read_pip_settings({"PIP_CONFIG_FILE": str(other)}).no_index
    assert read_pip_settings({"PIP_CONFIG_FILE": "/dev/null"}).index_url is None


def test_reads_percent_signs_literally(home: Path) -> None:
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = https://me:p%40ss@a.example\n")
    assert read_pip_settings({}).index_url == "https://me:p%40ss@a.example"


def test_error_names_broken_file(home: Path) -> None:
    path = home / ".config" / "pip" / "pip.conf"
    path.write_text("index-url = https://a.example\n")
    with pytest.raises(ConfigError, match=r"pip\.conf cannot be read") as caught:
        read_pip_settings({})
    assert "\n" not in str(caught.value)
