"""Forty videos, one of every kind that a search may find, and the expected outcome of each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from mien.ingest.ffmpeg import find_ffmpeg
from tests.demo_media import demo_clip
from tests.youtube.video import Fault, Video

TALK_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A video, and how it ends: its state in the catalog, with the class of its error if it has one."""

    name: str
    video: Video
    state: str = "done"
    error: str = ""
    attempts: int | None = None
    """None: any number."""
    talks: bool = True


def make_talk(folder: Path, number: int) -> Path:
    """A stretch of the demo's talk, encoded again: other bytes for every number, in both its streams."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"talk {number}.mp4"
    source = ffmpeg.input(str(demo_clip("talks.mp4")), ss=0.25 * number, t=TALK_SECONDS)
    ffmpeg.output(source, str(path), vcodec="libx264", preset="ultrafast", crf=26, acodec="aac").run(
        cmd=find_ffmpeg(), quiet=True, overwrite_output=True
    )
    return path


class _Maker:
    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, 0
        self.kinds: list[Kind] = []

    def add(self, name: str, *, media: Path | None = None, talks: bool = True, **fields: object) -> Video:
        """Adds a talking video, unless `talks` is False."""
        number = len(self.kinds)
        outcome = {key: fields.pop(key) for key in ("state", "error", "attempts") if key in fields}
        path = media or self._talk()
        video = Video(
            **{
                "id": f"-{number:02d}_{'kinds' if number % 2 else '-----'}-_",
                "title": f"Talk {number}: {name}",
                "media": path,
                "duration_seconds": TALK_SECONDS,
                **fields,
            }  # type: ignore[arg-type]
        )
        self.kinds.append(Kind(name, video, talks=talks, **outcome))  # type: ignore[arg-type]
        return video

    def fails(self, fault: Fault, error: str, *, attempts: int = 1) -> None:
        film = self._folder / "talk 0.mp4"
        self.add(
            fault.value, media=film, fault=fault, state="failed", error=error, attempts=attempts, talks=False
        )

    def _talk(self) -> Path:
        self._made += 1
        return make_talk(self._folder, self._made)


PERMANENT = {
    Fault.PRIVATE: "PrivateVideoError",
    Fault.REMOVED: "RemovedVideoError",
    Fault.AGE_GATE: "AgeGateError",
    Fault.GEO_BLOCK: "GeoBlockedError",
    Fault.LIVE: "LiveError",
    Fault.MEMBERS_ONLY: "MembersOnlyError",
    Fault.TERMINATED: "RemovedVideoError",
    Fault.COPYRIGHT: "CopyrightError",
}
RETRIED = {
    Fault.NO_FORMATS: "NoFormatsError",
    Fault.MEDIA_FORBIDDEN: "MediaForbiddenError",
    Fault.MEDIA_HTML: "IncompleteTransferError",
    Fault.MEDIA_SHORT: "IncompleteTransferError",
    Fault.MEDIA_NOISE: "IncompleteTransferError",
    Fault.UNHEARD_OF: "ExtractorError",
}
ATTEMPTS = 5


def every_kind(folder: Path) -> list[Kind]:
    """Writes the films into `folder`."""
    make_talk(folder, 0)
    make = _Maker(folder)
    make.add("plain")
    make.add("of another channel", channel="Faces & Voices")
    make.add("free", creative_commons=True)
    make.add("emoji", title="🎙️ talk 👩‍🏫 <b>&amp;</b> $(reboot) ; ../../etc")
    make.add("right to left", title="שיחה על פנים", channel="ערוץ")
    make.add("renamed", title="Before", later_titles=("After",))
    make.add("declared a little longer", duration_seconds=TALK_SECONDS + 1)
    make.add("reset, then well", fault=Fault.MEDIA_RESET, fault_times=1)
    make.add("cut short, then well", fault=Fault.MEDIA_WRONG_LENGTH, fault_times=1)
    make.add("stalled, then well", fault=Fault.MEDIA_STALLED, fault_times=1)
    make.add("a web page, then well", fault=Fault.MEDIA_HTML, fault_times=1)
    make.add("429, then well", fault=Fault.RATE_LIMITED, fault_times=1)
    make.add("429 of its media, then well", fault=Fault.MEDIA_RATE_LIMITED, fault_times=1)
    make.add("503, then well", fault=Fault.SERVER_ERROR, fault_times=3)
    make.add("slow", fault=Fault.MEDIA_SLOW)
    make.add("premiere in a minute", fault=Fault.PREMIERE, premieres_at=time.time() + 60)
    first = make.add("uploaded twice").media
    make.add("uploaded twice", media=first)
    make.add("no face", media=demo_clip("no_face.mp4"), talks=False, duration_seconds=4.0)
    for _ in range(2):
        for fault, error in list(PERMANENT.items())[:6]:
            make.fails(fault, error)
    for fault, error in list(PERMANENT.items())[6:]:
        make.fails(fault, error)
    for fault, error in RETRIED.items():
        make.fails(fault, error, attempts=ATTEMPTS)
    make.add(
        "premiere tomorrow",
        media=folder / "talk 0.mp4",
        fault=Fault.PREMIERE,
        premieres_at=time.time() + 86400,
        state="waiting",
        error="PremiereError",
        attempts=0,
        talks=False,
    )
    return make.kinds
