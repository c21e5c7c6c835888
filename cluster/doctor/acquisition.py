"""Whether videos can be downloaded: yt-dlp, a JavaScript runtime, proxies, cookies, and storage for media.

`mien run` makes the same checks before it starts, if videos of a platform are waiting.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check, CheckStatus
from mien.cluster.doctor.nodes import nodes
from mien.cluster.doctor.pending_videos import has_waiting_videos, waiting_platforms
from mien.cluster.doctor.proxies import environment_proxies, plain_proxy, platform_proxy, proxies
from mien.cluster.doctor.storage import creatable
from mien.ingest.errors import (
    ConfigError,
    CookiesError,
    MienError,
    MissingProgramError,
    StorageDeniedError,
    one_line,
)
from mien.ingest.platforms import PLATFORMS, Platform

TESTED_YTDLP = (2026, 10, 26)
_ALL = tuple(PLATFORMS.values())
_UPDATE = "pip install -U yt-dlp yt-dlp-ejs"


def ytdlp(settings: Settings) -> Iterator[Check]:
    """Platforms change and reject an old yt-dlp: the most likely cause if all downloads fail."""
    name = "yt-dlp"
    try:
        version = importlib.metadata.version("yt-dlp")
        solver = importlib.metadata.version("yt-dlp-ejs")
    except importlib.metadata.PackageNotFoundError as error:
        yield Check.fail(name, f"{error.name} is not installed", _UPDATE)
        return
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    tested = ".".join(f"{part:02}" for part in TESTED_YTDLP)
    if numbers < TESTED_YTDLP:
        yield Check.fail(
            name, f"yt-dlp {version} is older than {tested}, the oldest version that mien supports", _UPDATE
        )
    else:
        yield Check.ok(name, f"yt-dlp {version}, challenge solver {solver}")


def options(settings: Settings) -> Iterator[Check]:
    """Whether yt-dlp accepts the options passed to it and the format selector."""
    from yt_dlp import YoutubeDL

    from mien.ingest.platforms.ytdlp.options import DEFAULT_FORMAT, check_passed

    name, acquire = "yt-dlp options", settings.acquire
    try:
        check_passed(acquire.ytdlp_options)
    except ConfigError as error:
        problem, _, fix = one_line(str(error)).rpartition("; ")
        yield Check.fail(name, problem, fix)
        return
    selector = acquire.format or str(acquire.ytdlp_options.get("format") or DEFAULT_FORMAT)
    try:
        YoutubeDL.build_format_selector(YoutubeDL({"quiet": True}, auto_init=False), selector)
    except (SyntaxError, ValueError) as error:
        problem = f"acquire.format is not a valid format selector: {selector} ({one_line(str(error), 80)})"
        yield Check.fail(name, problem, f'write for example "{DEFAULT_FORMAT}"')
        return
    yield Check.ok(name, f"format {selector}")


def javascript(settings: Settings, platforms: Sequence[Platform] = _ALL) -> Iterator[Check]:
    """Without a JavaScript runtime, yt-dlp finds few formats on some platforms, such as YouTube."""
    from mien.ingest.platforms.ytdlp.javascript import find_runtimes

    name, passed = "javascript", settings.acquire.ytdlp_options
    needing = [platform for platform in platforms if platform.needs_javascript]
    if not needing:
        yield Check.ok(name, "not needed by the platforms in use")
        return
    arguments = passed.get("extractor_args", {})
    needing = [each for each in needing if "js" not in arguments.get(each.name, {}).get("player_skip", ())]
    if not needing:
        yield Check.ok(name, "not needed: extractor_args skips it")
        return
    titles = ", ".join(platform.title for platform in needing)
    found = find_runtimes(passed.get("js_runtimes"))
    usable = [runtime for runtime in found if runtime.is_supported]
    if usable:
        yield Check.ok(name, f"{usable[0].name} {usable[0].version} at {usable[0].path}")
        return
    old = ", ".join(f"{runtime.name} {runtime.version}" for runtime in found)
    problem = (
        f"no supported JavaScript runtime for {titles}; found {old}"
        if old
        else f"no JavaScript runtime for {titles}"
    )
    yield Check.fail(name, problem, "pip install 'deno>=2.3', or install node 22 or newer, bun or quickjs")


def cookies(settings: Settings, platforms: Sequence[Platform] = _ALL) -> Iterator[Check]:
    """Whether each cookies file is readable and holds current cookies for at least one platform in use."""
    from mien.ingest.platforms.cookies import check_current, read_cookies

    for identity in settings.acquire.identities:
        name, path = f"cookies {identity.name}", identity.cookies_file
        if not path:
            continue
        try:
            found = read_cookies(path)
            check_current(path, found, platforms)
        except CookiesError as error:
            problem, _, fix = one_line(str(error)).rpartition("; ")
            yield Check.fail(name, problem, fix)
            continue
        if Path(path).expanduser().stat().st_mode & 0o077:
            yield Check.warn(name, f"{path} is readable by other users of this machine", f"chmod 600 {path}")
        else:
            yield Check.ok(name, f"{len(found)} cookies in {path}")


def media(settings: Settings) -> Iterator[Check]:
    """Whether fetched media can be stored: in the cache of this node and in the store for retained media."""
    from mien.ingest.storage import open_store

    for name, place in (("media cache", settings.store.cache_folder), ("media", settings.fetch.keep_uri)):
        if not place:
            continue
        if "://" not in place and not Path(place).exists():
            yield creatable(name, Path(place), place)
            continue
        try:
            open_store(place).check_writable()
        except MienError as error:
            problem, _, fix = one_line(str(error)).rpartition("; ")
            yield Check.fail(name, problem, f"{fix}, or set acquire.media_uri")
        else:
            yield Check.ok(name, f"{place} is writable")


CheckFunction = Callable[[Settings], Iterable[Check]]

CHECKS: dict[str, CheckFunction] = {
    "yt-dlp": ytdlp,
    "yt-dlp options": options,
    "javascript": javascript,
    "proxies": proxies,
    "cookies": cookies,
    "media": media,
}
_BY_PLATFORM: dict[str, Callable[..., Iterable[Check]]] = {"javascript": javascript, "cookies": cookies}
_CLUSTER: dict[str, CheckFunction] = {"nodes": nodes}
_PLATFORM: dict[str, CheckFunction] = {**CHECKS, "platform proxy": platform_proxy}
_PLAIN: dict[str, CheckFunction] = {"plain proxy": plain_proxy, "media": media}
DOCTOR: dict[str, CheckFunction] = {**CHECKS, "environment proxies": environment_proxies, **_CLUSTER}
_ONLY_FOR_PLATFORMS = frozenset({"yt-dlp", "javascript"})
_KINDS: dict[str, type[MienError]] = {
    "yt-dlp": MissingProgramError,
    "javascript": MissingProgramError,
    "media": StorageDeniedError,
}


def examine(name: str, settings: Settings) -> Iterator[Check]:
    """For `mien doctor`: problems that only affect platforms are warnings if no such video is waiting."""
    if name in _CLUSTER and settings.engine.address and not has_waiting_videos(settings):
        yield Check.ok(name, "skipped: no video of a platform is waiting")
        return
    check = DOCTOR[name]
    if name in _BY_PLATFORM:
        check = partial(_BY_PLATFORM[name], platforms=waiting_platforms(settings) or _ALL)
    for found in check(settings):
        is_fatal = found.status is CheckStatus.FAIL and name in _ONLY_FOR_PLATFORMS
        if is_fatal and not has_waiting_videos(settings):
            yield Check.warn(found.name, found.message, found.fix)
        else:
            yield found


def check_acquisition(settings: Settings, sources: Collection[str], *, local: bool = False) -> None:
    """Checks what a run needs to fetch videos from `sources` (`VideoRef.source`).

    `local`: the run uses only this process.

    Raises:
        UsageError: something is missing or wrong; the message says how to fix it.
        StorageDeniedError: the folder or store for media is not writable.
        InfeasibleError: the cluster does not answer.
    """
    checks = dict(_PLAIN) if "http" in sources else {}
    if platforms := [PLATFORMS[name] for name in PLATFORMS.keys() & set(sources)]:
        checks |= _PLATFORM
        checks |= {name: partial(check, platforms=platforms) for name, check in _BY_PLATFORM.items()}
        if not local and settings.acquire.keep_media != "always":
            checks |= _CLUSTER
    for name, check in checks.items():
        for found in check(settings):
            if found.status is CheckStatus.FAIL:
                fix = f"; {found.fix}" if found.fix else ""
                raise _KINDS.get(name, ConfigError)(one_line(f"{found.name}: {found.message}{fix}"))
