"""Finds the sample key that a person means."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from mien.ingest.errors import UnknownKeyError, UsageError
from mien.ingest.storage import redact
from mien.models.reader.corpus.corpus import Corpus

SHOWN = 5
_COMPARED = 2000
"""The number of keys compared with the typed text: difflib takes about 20 µs for each."""


def find_key(corpus: Corpus, typed: str) -> str:
    """The key that equals `typed`, or the only key that starts with it.

    Raises:
        UsageError: several keys start with it.
        UnknownKeyError: no key starts with it; the message names the closest ones.
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
        raise UsageError(
            f"several keys in {where} start with {typed!r}: {', '.join(some)}{more}; add more letters"
        )
    close = _closest(corpus, typed)
    hint = f"did you mean {' or '.join(close)}?" if close else "`mien shards ls --keys` lists them"
    raise UnknownKeyError(f"no key in {where} starts with {typed!r}; {hint}")


def _closest(corpus: Corpus, typed: str) -> list[str]:
    import pyarrow.compute as pc

    if not typed:
        return []
    inside = _keys(corpus, lambda keys: pc.match_substring(keys, typed), SHOWN)
    if inside:
        return inside
    # Compare only the keys that share the longest prefix: there may be millions.
    for length in range(len(typed), -1, -1):
        start = typed[:length]
        alike = _keys(corpus, lambda keys, start=start: pc.starts_with(keys, start), _COMPARED)  # type: ignore[misc]
        if alike:
            return difflib.get_close_matches(typed, alike, SHOWN, 0.4 if length else 0.6)
    return []


def _keys(corpus: Corpus, test: Callable[[Any], Any], limit: int) -> list[str]:
    found: list[str] = []
    for batch in corpus.index.batches:
        keys = batch.column("key")
        found += keys.filter(test(keys)).slice(0, limit - len(found)).to_pylist()
        if len(found) >= limit:
            break
    return found
