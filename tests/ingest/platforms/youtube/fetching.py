"""A real fetch stage against the double."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mien.ingest.fetch import Fetch
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.rate.identity import Identity
from tests.youtube import YouTubeDouble

# The one client that needs neither JavaScript nor a PO token here; the double knows them all.
EXTRACTOR_ARGS = {
    "youtube": {"player_client": ["visionos"], "player_skip": ["webpage", "configs", "js"]},
}
OPTIONS = {"nocheckcertificate": True, "extractor_args": EXTRACTOR_ARGS}
ID = "aaaaaaaaaa1"


def youtube_job(video_id: str = ID, *, identity: str = "", **fields: Any) -> Job:
    video = VideoRef(
        source="youtube", id=video_id, uri=f"https://www.youtube.com/watch?v={video_id}", **fields
    )
    return Job(video=video, identity=identity)


def identity_through(youtube: YouTubeDouble, name: str = "egress", **fields: Any) -> Identity:
    return Identity(name, proxy=youtube.proxy_of(name), **fields)


def youtube_fetch(folder: Path, *identities: Identity, **options: Any) -> Fetch:
    passed = {**OPTIONS, **options.pop("ytdlp_options", {})}
    return Fetch(
        **{
            "cache_dir": str(folder / "cache"),
            "timeout_seconds": 60.0,
            "identities": identities,
            "ytdlp_options": passed,
            **options,
        }
    )


def fetched(stage: Fetch, job: Job) -> MediaFile:
    (media,) = stage(job)
    return media


def names_in_cache(stage: Fetch) -> set[str]:
    """What kinds of files there are, by suffix; "" for finished ones. A marker counts if its file is gone."""
    names = {path.name for path in stage.cache.folder.iterdir() if path.name != ".lock"}
    return {Path(name).suffix for name in names - {f"{name}.wanted" for name in names}}


def texts_of(value: object) -> str:
    """Everything that a person could read of `value`, whatever it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return repr(dataclasses.asdict(value))
    return repr(value) + str(value)
