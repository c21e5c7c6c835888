"""From what a person types to a key."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from mien.ingest.errors import UnknownKeyError, UsageError
from mien.ingest.storage import redact
from mien.models.reader.corpus.corpus import Corpus

SHOWN = 5
_COMPARED = 2000
"""Keys that are held against what was typed: difflib takes some 20 µs for each."""


def find_key(corpus: Corpus, typed: str) -> str:
    """The key that `typed` is, or that alone begins with it.

    Raises:
        UsageError: several keys begin with it.
        UnknownKeyError: none does; the nearest are named.
    """
    import pyarrow.compute as pc

    if corpus.index.find(typed) is not None:
        return typed
    where = redact(corpus.store.uri)
    starting = set(_keys(corpus, lambda keys: pc.starts_with(keys, typed), SHOWN + 1)) if typed else set()
    if len(starting) == 1:
        return starting.pop()
    if starting:
        some = sorted(starting)[:SHOWN]
        more = ", …" if len(starting) > SHOWN else ""
        raise UsageError(f"several keys in {where} begin with {typed!r}: {', '.join(some)}{more}; type more")
    near = _nearest(corpus, typed)
    hint = f"did you mean {' or '.join(near)}?" if near else "`mien shards ls --keys` lists them"
    raise UnknownKeyError(f"no key in {where} is or begins with {typed!r}; {hint}")


def _nearest(corpus: Corpus, typed: str) -> list[str]:
    import pyarrow.compute as pc

    if not typed:
        return []
    inside = _keys(corpus, lambda keys: pc.match_substring(keys, typed), SHOWN)
    if inside:
        return inside
    # Among a million keys only those are compared that begin as it does for longest.
    for begun in range(len(typed), -1, -1):
        start = typed[:begun]
        alike = _keys(corpus, lambda keys, start=start: pc.starts_with(keys, start), _COMPARED)  # type: ignore[misc]
        if alike:
            return difflib.get_close_matches(typed, alike, SHOWN, 0.4 if begun else 0.6)
    return []


def _keys(corpus: Corpus, test: Callable[[Any], Any], limit: int) -> list[str]:
    found: list[str] = []
    for batch in corpus.index.batches:
        keys = batch.column("key")
        found += keys.filter(test(keys)).slice(0, limit - len(found)).to_pylist()
        if len(found) >= limit:
            break
    return found
