"""The JavaScript runtime with which yt-dlp solves YouTube's challenges.

Which ones it takes, and from which version on, is asked of yt-dlp itself.
Source: https://github.com/yt-dlp/yt-dlp/wiki/EJS
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

# Deno first: it runs the code of others without access to files or network.
ORDER = ("deno", "bun", "node", "quickjs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    name: str
    path: str
    version: str
    is_supported: bool


def find_runtimes(configured: Mapping[str, Any] | None = None) -> tuple[Runtime, ...]:
    """What is installed, best first: on the PATH, in this environment (the wheel `deno`), or at `configured`.

    `configured` is yt-dlp's option: {name: {"path": …}}; None for whatever there is.
    """
    wanted = (
        dict.fromkeys(ORDER, "")
        if configured is None
        else {name: str((options or {}).get("path", "")) for name, options in configured.items()}
    )
    return _found(tuple(sorted(wanted.items(), key=lambda item: _rank(item[0]))))


def js_runtimes(configured: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """yt-dlp's option `js_runtimes`: the best that is there and new enough; {"deno": {}} where none is."""
    usable = [runtime for runtime in find_runtimes(configured) if runtime.is_supported]
    return {usable[0].name: {"path": usable[0].path}} if usable else {"deno": {}}


def _rank(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


# Each is started to ask its version, which takes longer than many a video's extraction.
@cache
def _found(wanted: tuple[tuple[str, str], ...]) -> tuple[Runtime, ...]:
    import yt_dlp  # noqa: F401 (fills the table below)
    from yt_dlp.globals import supported_js_runtimes

    found = []
    for name, path in wanted:
        kind = supported_js_runtimes.value.get(name)
        info = kind(path=path or None).info if kind else None
        if info is not None:
            found.append(
                Runtime(name=name, path=info.path, version=info.version, is_supported=info.supported)
            )
    return tuple(found)
