"""The columns of the benchmark: the task for every reader, and the targets for mien's reader."""

from __future__ import annotations

from dataclasses import dataclass

BATCH = 32
WINDOW_ROWS = 16
SMALL_PIXELS = 48
SINGLE = frozenset({"raw", "owned", "light"})
"""Tasks that return single samples instead of batches."""


@dataclass(frozen=True, slots=True)
class Target:
    ratio: float
    """The maximum of mien's CPU per sample divided by the other reader's."""
    reader: str
    column: str


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    title: str
    task: str
    """`raw`, `owned`, `light`, `all`, `window` or `small`."""
    workers: int = 0
    targets: tuple[Target, ...] = ()


COLUMNS = {
    column.name: column
    for column in (
        Column(
            "raw", "every member as returned, one byte of each page read", "raw",
            targets=(Target(0.3, "tarfile", "raw"),),
        ),
        Column(
            "owned", "every member copied to bytes", "owned",
            targets=(Target(0.3, "tarfile", "owned"),),
        ),
        Column(
            "light", "json, txt and flac decoded", "light",
            targets=(Target(0.7, "webdataset", "light"),),
        ),
        Column(
            "all", f"all decoded, padded batches of {BATCH}", "all",
            targets=(Target(0.85, "webdataset", "all"),),
        ),
        Column(
            "all2", "the same, two workers", "all", workers=2,
            targets=(Target(0.65, "webdataset", "all2"),),
        ),
        Column(
            "window", f"{WINDOW_ROWS} frames and their sound, batches of {BATCH}", "window",
            targets=(Target(0.2, "webdataset", "all"), Target(0.2, "webdataset", "window")),
        ),
        Column(
            "small", f"all frames, {SMALL_PIXELS}×{SMALL_PIXELS} grey, batches of {BATCH}", "small",
            targets=(Target(0.4, "webdataset", "all"), Target(0.4, "webdataset", "small")),
        ),
    )
}  # fmt: skip
