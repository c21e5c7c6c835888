"""Numbers, times and foreign text, formatted for people."""

from __future__ import annotations

import time
import unicodedata

_JOINERS = "\u200c\u200d"  # needed within emoji and within some scripts
_ISOLATE, _END = "\u2068", "\u2069"


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """ "1 video", "1,200 videos"; `plural` where it is not `noun` + "s"."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def format_bytes(count: float) -> str:
    """ "812 bytes", "3.4 MB", "1.20 TB". A value above 0 is never rounded to 0."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:,.{0 if count >= 99.5 else 1 if count >= 9.95 else 2}f} {unit}"
    return f"{count / 1000:,.2f} TB"


def format_duration(seconds: float) -> str:
    """ "1:02:03.4" or "2:03.4": with tenths of a second."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def format_length(seconds: float | None) -> str:
    """ "1:02:03", "2:03", or "?" if unknown: in whole seconds."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def format_time(seconds: float) -> str:
    """ "2026-12-01 14:05", in local time. `seconds` since the epoch."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def terminal_safe(text: str) -> str:
    """`text` without anything that affects the rest of the terminal.

    Removes control characters, escape sequences and direction marks. Right-to-left text is isolated
    (Unicode Standard Annex 9, FSI … PDI).
    """
    letters = []
    for letter in text:
        category = unicodedata.category(letter)
        if category in {"Cc", "Zl", "Zp"}:
            letters.append(" ")
        elif category in {"Cs", "Co", "Cn"}:
            letters.append("\ufffd")
        elif category != "Cf" or letter in _JOINERS:
            letters.append(letter)
    plain = " ".join("".join(letters).split())
    is_right_to_left = any(unicodedata.bidirectional(letter) in {"R", "AL", "AN"} for letter in plain)
    return f"{_ISOLATE}{plain}{_END}" if is_right_to_left else plain
