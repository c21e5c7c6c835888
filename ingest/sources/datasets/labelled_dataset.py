"""Labelled datasets: labels are read from the file names that the dataset's authors documented.

`ravdess:/path/to/folder` adds the files of a dataset. See `DATASETS` for all datasets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.ingest.errors import MissingFileError, UnknownNameError, UsageError, one_line
from mien.ingest.media import VideoRef
from mien.ingest.naming import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, extension_of, path_uri, printable
from mien.ingest.sources.folder import walk
from mien.ingest.sources.tally import Tally

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file's place and name say."""

    id: str
    """[A-Za-z0-9_-]+, the same for the same recording in another format or another folder."""
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledDataset:
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


def decode_labels(
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


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """Files of a folder whose names the corpus documents; every other media file is refused by name. Those
    that are known to be broken are left out: who wants one all the same adds it by itself.

    One recording that lies there in several formats is one video: with a picture where faces are wanted,
    else the sound alone, which is the cheaper to read.
    """

    dataset: LabelledDataset

    def accepts(self, argument: str) -> bool:
        prefix, colon, rest = argument.partition(":")
        wanted = prefix.lower().replace("-", "").replace("_", "") == self.dataset.name
        return bool(colon) and wanted and not rest.startswith("//")

    def expand(self, argument: str, tally: Tally, extensions: frozenset[str]) -> Iterator[VideoRef]:
        """Raises UsageError where an archive is named, or nothing; MissingFileError goes to `tally`."""
        folder = os.path.abspath(self._folder(argument))  # noqa: PTH100
        chosen: dict[str, tuple[str, Recording]] = {}
        prefer_sound = bool(extensions & SOUND_EXTENSIONS)
        for path in walk(folder, tally):
            extension = extension_of(path)
            if extension not in MEDIA_EXTENSIONS | SOUND_EXTENSIONS or extension not in extensions:
                tally.skipped[printable(extension)] += 1
                continue
            recording = self.dataset.read(PurePosixPath(path))
            if recording is None:
                tally.errors.append(self._unknown(path))
                continue
            if recording.id in self.dataset.broken:
                tally.left_out[f"that {self.dataset.name} is known to hold broken"] += 1
                continue
            before = chosen.get(recording.id)
            if before is not None:
                tally.copies[printable(extension)] += 1
                if _rank(path, prefer_sound) >= _rank(before[0], prefer_sound):
                    continue
            chosen[recording.id] = (path, recording)
        for path, recording in chosen.values():
            yield self._ref(path, recording, folder)

    def _folder(self, argument: str) -> str:
        folder = argument.partition(":")[2]
        if folder.startswith("~/"):  # no shell does it where it is not a word's beginning
            folder = str(Path.home() / folder[2:])
        if not folder:
            raise UsageError(f"{argument} names no folder; write {self.dataset.name}:/path/to/folder")
        if "\0" in folder or not os.path.isdir(folder):  # noqa: PTH112
            if folder.lower().endswith(_ARCHIVES):
                raise UsageError(
                    f"{printable(folder)}: a corpus is read from a folder; unpack it, "
                    f"then add {self.dataset.name}:FOLDER"
                )
            raise MissingFileError(
                one_line(f"{printable(folder)}: no such folder; write {self.dataset.name}:/path/to/folder")
            )
        return folder

    def _unknown(self, path: str) -> UnknownNameError:
        return UnknownNameError(
            one_line(
                f"{printable(path)}: not named as {self.dataset.name} names its files "
                f"({self.dataset.expected}); rename it, or add it by itself"
            )
        )

    def _ref(self, path: str, recording: Recording, folder: str) -> VideoRef:
        return VideoRef(
            source=self.dataset.name,
            id=recording.id,
            uri=path_uri(path),
            title=printable(PurePosixPath(path).stem),
            licence=self.dataset.licence,
            query=f"{self.dataset.name}:{path_uri(folder)}",
            labels=recording.labels,
        )


def _rank(path: str, prefer_sound: bool) -> tuple[bool, bool, bytes]:
    """Lowest first: the wanted kind, then what was not compressed with a loss, then by name."""
    extension = extension_of(path)
    return (
        (extension in SOUND_EXTENSIONS) != prefer_sound,
        extension not in {".wav", ".flac"},
        os.fsencode(path),
    )
