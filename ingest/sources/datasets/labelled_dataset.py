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
from mien.ingest.sources.skipped import Skipped

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class Recording:
    """What the path of a file says."""

    id: str
    """[A-Za-z0-9_-]+. The same for one recording in several formats or folders."""
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledDataset:
    name: str
    """The prefix before the colon, and `VideoRef.source`: letters and digits only."""
    title: str
    licence: str
    """"" if each user agrees on a licence with the authors."""
    labels: Mapping[str, Mapping[str, str]]
    """The values of each label, by their code in the file name. No values: the code itself is the value."""
    read: Callable[[PurePosixPath], Recording | None]
    """Reads an absolute path. None if the name does not follow the dataset's naming."""
    expected: str
    """Describes the naming and ends in " as EXAMPLE"; shown for files that do not follow it."""
    broken: frozenset[str] = frozenset()
    """Ids of recordings known to be broken; they are left out."""


def decode_labels(
    labels: Mapping[str, Mapping[str, str]], codes: Mapping[str, str | None]
) -> dict[str, str] | None:
    """The label values of `codes`, in the order of `labels`; None if a code has no meaning."""
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
    """The files of a folder that follow the dataset's naming. Every other media file is reported as an error.
    Recordings known to be broken are left out; they can still be added as single files.

    A recording in several formats is one video: the file with a picture if faces are needed, otherwise the
    audio file, which is cheaper to read.
    """

    dataset: LabelledDataset

    def accepts(self, argument: str) -> bool:
        prefix, colon, rest = argument.partition(":")
        name = prefix.lower().replace("-", "").replace("_", "")
        return bool(colon) and name == self.dataset.name and not rest.startswith("//")

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        """Raises UsageError for an archive or no folder, MissingFileError for a folder that does not
        exist."""
        folder = os.path.abspath(self._folder(argument))  # noqa: PTH100
        chosen: dict[str, tuple[str, Recording]] = {}
        prefer_sound = bool(extensions & SOUND_EXTENSIONS)
        for path in walk(folder, skipped):
            extension = extension_of(path)
            if extension not in MEDIA_EXTENSIONS | SOUND_EXTENSIONS or extension not in extensions:
                skipped.not_media[printable(extension)] += 1
                continue
            recording = self.dataset.read(PurePosixPath(path))
            if recording is None:
                skipped.errors.append(self._unknown(path))
                continue
            if recording.id in self.dataset.broken:
                skipped.left_out[f"known to be broken in {self.dataset.name}"] += 1
                continue
            before = chosen.get(recording.id)
            if before is not None:
                skipped.copies[printable(extension)] += 1
                if _rank(path, prefer_sound) >= _rank(before[0], prefer_sound):
                    continue
            chosen[recording.id] = (path, recording)
        for path, recording in chosen.values():
            yield self._ref(path, recording, folder)

    def _folder(self, argument: str) -> str:
        folder = argument.partition(":")[2]
        if folder.startswith("~/"):  # the shell expands ~ only at the beginning of a word
            folder = str(Path.home() / folder[2:])
        if not folder:
            raise UsageError(f"{argument}: the folder is missing; write {self.dataset.name}:/path/to/folder")
        if "\0" in folder or not os.path.isdir(folder):  # noqa: PTH112
            if folder.lower().endswith(_ARCHIVES):
                raise UsageError(
                    f"{printable(folder)}: a dataset is read from a folder; unpack the archive, "
                    f"then add {self.dataset.name}:FOLDER"
                )
            raise MissingFileError(
                one_line(f"{printable(folder)}: no such folder; write {self.dataset.name}:/path/to/folder")
            )
        return folder

    def _unknown(self, path: str) -> UnknownNameError:
        return UnknownNameError(
            one_line(
                f"{printable(path)}: the name does not follow the naming of {self.dataset.name} "
                f"({self.dataset.expected}); rename the file, or add it as a single file"
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
    """Sort key: the preferred kind first, then lossless audio, then by name."""
    extension = extension_of(path)
    return (
        (extension in SOUND_EXTENSIONS) != prefer_sound,
        extension not in {".wav", ".flac"},
        os.fsencode(path),
    )
