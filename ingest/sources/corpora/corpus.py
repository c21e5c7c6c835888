"""What a labelled corpus is: a way to read labels off the names that its authors documented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file's place and name say."""

    id: str
    """[A-Za-z0-9_-]+, the same for the same recording in another format or another folder."""
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    name: str
    """As typed before the colon, and `VideoRef.source`: letters and digits only."""
    title: str
    licence: str
    """"" where it is agreed with each user."""
    labels: Mapping[str, Mapping[str, str]]
    """Each label and its values by the code in the name; no values: whatever number or name is there."""
    read: Callable[[PurePosixPath], Recording | None]
    """From an absolute path; None where the name is not one of the corpus."""
    expected: str
    """The naming, for the message about a file that does not follow it."""
    broken: frozenset[str] = frozenset()
    """Ids of recordings that are known not to hold what their names say: they are left out."""


def decoded(
    labels: Mapping[str, Mapping[str, str]], codes: Mapping[str, str | None]
) -> dict[str, str] | None:
    """`codes` by their meaning, in the order of `labels`; None where a code has none."""
    found: dict[str, str] = {}
    for name, values in labels.items():
        code = codes.get(name)
        if code is None:
            continue
        if values and code not in values:
            return None
        found[name] = values[code] if values else code
    return found
