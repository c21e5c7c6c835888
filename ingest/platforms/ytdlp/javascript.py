"""Finds the JavaScript runtime with which yt-dlp solves YouTube's challenges.

yt-dlp itself says which runtimes and versions it supports.
Source: https://github.com/yt-dlp/yt-dlp/wiki/EJS
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

# Deno first: it runs foreign code without access to files or network.
ORDER = ("deno", "bun", "node", "quickjs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    name: str
    path: str
    version: str
    is_supported: bool


def find_runtimes(configured: Mapping[str, Any] | None = None) -> tuple[Runtime, ...]:
    """The installed runtimes, best first: on the PATH, in this environment (wheel `deno`), or `configured`.

    `configured` is yt-dlp's option: {name: {"path": …}}; None for any runtime.
    """
    requested = (
        dict.fromkeys(ORDER, "")
        if configured is None
        else {name: str((options or {}).get("path", "")) for name, options in configured.items()}
    )
    return _found(tuple(sorted(requested.items(), key=lambda item: _rank(item[0]))))


def js_runtimes(configured: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """yt-dlp's option `js_runtimes`: the best usable runtime; {"deno": {}} if there is none."""
    usable = [runtime for runtime in find_runtimes(configured) if runtime.is_supported]
    return {usable[0].name: {"path": usable[0].path}} if usable else {"deno": {}}


def _rank(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


# Asking a version starts the program, which takes longer than extracting many videos.
@cache
def _found(requested: tuple[tuple[str, str], ...]) -> tuple[Runtime, ...]:
    import yt_dlp  # noqa: F401 (fills the table below)
    from yt_dlp.globals import supported_js_runtimes

    found = []
    for name, path in requested:
        kind = supported_js_runtimes.value.get(name)
        info = kind(path=path or None).info if kind else None
        if info is not None:
            found.append(
                Runtime(name=name, path=info.path, version=info.version, is_supported=info.supported)
            )
    return tuple(found)
