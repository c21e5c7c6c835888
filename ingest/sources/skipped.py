"""Counts what a source left out, so that nothing is left out silently."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mien.ingest.errors import MienError


@dataclass(slots=True)
class Skipped:
    not_media: Counter[str] = field(default_factory=Counter)
    """Files that are not media, by extension with its dot; "(none)" for files without one."""
    copies: Counter[str] = field(default_factory=Counter)
    """Further files of a recording that is already included, by extension."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Videos that are left out, by reason."""
    errors: list[MienError] = field(default_factory=list)
    """One error for each entry that could not be listed or read."""

    @property
    def skipped_count(self) -> int:
        return self.not_media.total()

    def summary(self) -> str:
        """ "skipped 12 files that are not media: .txt 7, .json 5", or "" if none was skipped."""
        if not self.not_media:
            return ""
        total = self.skipped_count
        kinds = sorted(self.not_media.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{extension} {count}" for extension, count in kinds)
        noun = "file that is" if total == 1 else "files that are"
        return f"skipped {total} {noun} not media: {shown}"
