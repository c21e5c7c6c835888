"""One video of YouTube into a place of the media cache: asked for, judged, downloaded, merged, moved.

What is on the way lies in a folder of the video's own beside the cached files; a killed or broken download
is gone on with there, by Range. Only a whole file that has the declared size leaves it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.ingest.errors import IncompleteTransferError, MienError, Policy, TooLargeError
from mien.ingest.media import VideoRef
from mien.ingest.rate.identity import Identity
from mien.ingest.youtube.acceptance import AcceptancePolicy, VideoMetadata, found_in, refusal
from mien.ingest.youtube.errors import translated
from mien.ingest.youtube.options import youtube_options
from mien.ingest.youtube.secrets import secrets_of

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile
    from mien.ingest.youtube.session import Meter

SIZE_SLACK_BYTES = 100
"""YouTube adds or removes a few bytes of a file now and then (yt-dlp's downloader/http.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    found: VideoMetadata
    requests: int
    bytes: int
    """From the network: more than the file where a part came twice, less where it was gone on with."""


class YouTubeDownloader:
    def __init__(
        self,
        *,
        ytdlp_options: Mapping[str, Any],
        terms: AcceptancePolicy,
        timeout_seconds: float,
        max_bytes: int | None = None,
    ) -> None:
        self.ytdlp_options = ytdlp_options
        self.terms = terms
        self.timeout_seconds = timeout_seconds
        self.max_bytes = max_bytes

    def download(self, video: VideoRef, identity: Identity, slot: PartialFile) -> Delivered:
        """Fills `slot` with the media of `video`, asked for as `identity`.

        Raises:
            MienError: the class that the table of errors names, with `usage_requests` and `usage_bytes`.
        """
        from mien.ingest.youtube.session import Meter

        meter = Meter()
        work = slot.work_folder()
        try:
            found = self._bring(video, identity, slot, work, meter)
        except BaseException as error:
            if isinstance(error, MienError):
                error.usage_requests, error.usage_bytes = meter.requests, meter.bytes
                if error.policy is Policy.PERMANENT:
                    shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
        return Delivered(found=found, requests=meter.requests, bytes=meter.bytes)

    def _bring(
        self, video: VideoRef, identity: Identity, slot: PartialFile, work: Path, meter: Meter
    ) -> VideoMetadata:
        from mien.ingest.youtube.session import Session

        secrets = secrets_of(identity, self.ytdlp_options)
        params = youtube_options(
            identity,
            ytdlp_options=self.ytdlp_options,
            timeout_seconds=self.timeout_seconds,
            target=work,
        )
        if self.terms.format:
            params["format"] = self.terms.format
        judge = _Judge(video, self.terms)
        gate = _Gate(slot, self.max_bytes, video.key)
        params |= {"match_filter": judge, "progress_hooks": [gate]}
        try:
            with Session(params, meter) as session:
                info = session.extract_info(video.uri, ie_key="Youtube")
        except Exception as error:
            failed = translated(
                error,
                name=video.key,
                secrets=secrets,
                warnings=params["logger"].warnings,
                failures=meter.failures,
            )
            # What yt-dlp raised may hold secrets; the cause that it was given does not.
            raise failed from failed.__cause__
        slot.adopt(_file_of(info, work, video.key))
        return judge.found or found_in(info)


class _Judge:
    """yt-dlp's `match_filter`: asked when all is known of a video, and nothing of its media was asked for."""

    def __init__(self, video: VideoRef, terms: AcceptancePolicy) -> None:
        self._video, self._terms = video, terms
        self.found: VideoMetadata | None = None

    def __call__(self, info: dict[str, Any], *, incomplete: Any = False) -> None:
        if info.get("_type", "video") != "video" or not {"formats", "url"} & info.keys():
            return
        self.found = found_in(info)
        error = refusal(self.found, self._video, self._terms, now=time.time())
        if error is not None:
            raise error


class _Gate:
    """yt-dlp's `progress_hooks`: room is reserved before the bytes come, and their number is compared."""

    def __init__(self, slot: PartialFile, max_bytes: int | None, name: str) -> None:
        self._slot, self._max_bytes, self._name = slot, max_bytes, name
        self._files: dict[str, int] = {}

    def __call__(self, status: dict[str, Any]) -> None:
        file = str(status.get("filename") or "")
        known = [status.get("total_bytes"), status.get("downloaded_bytes")]
        size = max(int(number) for number in (*known, 0) if isinstance(number, int | float))
        if size > self._files.get(file, 0):
            self._files[file] = size
            total = sum(self._files.values())
            if self._max_bytes is not None and total > self._max_bytes:
                raise TooLargeError(
                    f"{self._name}: more than the {self._max_bytes:,} bytes allowed; raise fetch.max_bytes"
                )
            self._slot.reserve(total)
        if status.get("status") == "finished":
            self._check_whole(Path(file), status.get("info_dict") or {})

    def _check_whole(self, file: Path, info: Mapping[str, Any]) -> None:
        declared = info.get("filesize")
        if not isinstance(declared, int) or info.get("fragments"):
            return
        size = file.stat().st_size
        if abs(size - declared) > SIZE_SLACK_BYTES:
            # Whatever it is, it is not to be gone on with.
            file.unlink()
            raise IncompleteTransferError(
                f"{self._name}: {size:,} bytes of media came, {declared:,} were declared; it is asked again"
            )


def _file_of(info: Any, work: Path, name: str) -> Path:
    """The one file that was made. That yt-dlp reports a success is not enough."""
    downloads = info.get("requested_downloads") if isinstance(info, Mapping) else None
    paths = [Path(str(entry.get("filepath") or "")) for entry in downloads or ()]
    if len(paths) != 1 or paths[0].parent != work or not paths[0].is_file():
        raise IncompleteTransferError(
            f"{name}: yt-dlp says that it is done, and left no file; it is asked again"
        )
    return paths[0]
