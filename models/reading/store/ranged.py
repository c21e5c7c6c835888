"""Single members from a distant store, where too little of a shard is wanted to fetch it whole."""

from __future__ import annotations

from collections.abc import Mapping

from mien.ingest.storage import Store

GAP_BYTES = 64 << 10
"""Less than this between two members is fetched along: another request would take longer."""

Place = tuple[int, int]


def read_members(store: Store, name: str, places: Mapping[str, Place]) -> dict[str, memoryview]:
    """Extension to content; shorter than told where the tar ends before.

    Raises StorageMissingError, StorageError.
    """
    runs: list[tuple[int, int, list[str]]] = []
    for extension, (offset, size) in sorted(places.items(), key=lambda item: item[1]):
        end = offset + size
        if runs and offset - runs[-1][1] <= GAP_BYTES:
            first, last, names = runs[-1]
            runs[-1] = first, max(last, end), [*names, extension]
        else:
            runs.append((offset, end, [extension]))
    found = {}
    for first, last, names in runs:
        data = memoryview(store.read(name, first, last - first))
        for extension in names:
            offset, size = places[extension]
            found[extension] = data[offset - first : offset - first + size]
    return {extension: found[extension] for extension in places}
