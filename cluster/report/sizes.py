"""Numbers of bytes for people."""

from __future__ import annotations


def size(count: float) -> str:
    """ "812 bytes", "3.4 MB", "1.20 TB": never so coarse that something looks like nothing."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:,.{0 if count >= 99.5 else 1 if count >= 9.95 else 2}f} {unit}"
    return f"{count / 1000:,.2f} TB"
