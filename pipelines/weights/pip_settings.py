"""Where pip has been told to look for packages, read as pip reads it.

Lowest first: global files, the user's, the environment's own (`<prefix>/pip.conf`), $PIP_CONFIG_FILE,
then PIP_* variables. Of a file, `[global]` and over it `[download]` count.
Source: pip's documentation, "Configuration".
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import site_config_path, user_config_path

from mien.ingest.errors import ConfigError

_FILE = "pip.ini" if sys.platform == "win32" else "pip.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipSettings:
    index_url: str | None
    """None: pip's own default."""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    certificates: str | None = None
    proxy: str | None = None


def read(environment: Mapping[str, str] | None = None) -> PipSettings:
    """The effective settings. Raises ConfigError for a file that is not in pip's format."""
    environment = os.environ if environment is None else environment
    values: dict[str, str] = {}
    for path in _files(environment):
        values |= _read_file(path)
    values |= {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value.strip()
    }
    return PipSettings(
        index_url=values.get("index-url") or None,
        extra_index_urls=tuple(values.get("extra-index-url", "").split()),
        find_links=tuple(values.get("find-links", "").split()),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        no_index=values.get("no-index", "").lower() in {"1", "true", "yes", "on", "y", "t"},
        certificates=values.get("cert") or None,
        proxy=values.get("proxy") or None,
    )


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    if sys.platform == "win32" or sys.platform == "darwin":
        yield site_config_path("pip", appauthor=False) / _FILE
    else:
        for folder in reversed(environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            if folder:
                yield Path(folder) / "pip" / _FILE
        yield Path("/etc") / _FILE
    home = Path.home()
    yield home / ("pip" if sys.platform == "win32" else ".pip") / _FILE
    yield user_config_path("pip", appauthor=False, roaming=True) / _FILE
    if sys.platform == "darwin":
        yield home / ".config" / "pip" / _FILE
    yield Path(sys.prefix) / _FILE
    if chosen:
        yield Path(chosen)


def _read_file(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        if not path.is_file():
            return {}
        parser.read_string(path.read_text())
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read as pip's configuration ({reason}); correct it") from error
    values: dict[str, str] = {}
    for section in ("global", "download"):
        if parser.has_section(section):
            values |= {key.replace("_", "-"): value for key, value in parser.items(section) if value.strip()}
    return values
