"""Downloads one video through yt-dlp into the media cache.

The download works in a folder of its own beside the cached files, where an interrupted download is resumed by
Range. Only a complete file of the declared size is moved out of that folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from mien.ingest.errors import IncompleteTransferError, MienError, Policy, TooLargeError
from mien.ingest.media import VideoRef
from mien.ingest.platforms.acceptance import AcceptancePolicy, VideoMetadata, metadata_of, refusal
from mien.ingest.platforms.platform import Delivered
from mien.ingest.platforms.secrets import secrets_of
from mien.ingest.platforms.ytdlp.errors import translated
from mien.ingest.platforms.ytdlp.options import download_options
from mien.ingest.platforms.ytdlp.rules import SiteRules
from mien.ingest.rate.identity import Identity

ITEM = "mien-item="
"""In the fragment of a URL: which of several videos on the page is meant, counted from 1."""

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile
    from mien.ingest.platforms.ytdlp.session import Meter

SIZE_SLACK_BYTES = 100
"""YouTube sometimes adds or removes a few bytes of a file (yt-dlp's downloader/http.py)."""


class YtDlpDownloader:
    def __init__(
        self,
        *,
        rules: SiteRules,
        ytdlp_options: Mapping[str, Any],
        policy: AcceptancePolicy,
        timeout_seconds: float,
        max_bytes: int | None = None,
        only_public: bool = False,
    ) -> None:
        self.rules = rules
        self.only_public = only_public
        self.ytdlp_options = ytdlp_options
        self.policy = policy
        self.timeout_seconds = timeout_seconds
        self.max_bytes = max_bytes

    def download(self, video: VideoRef, identity: Identity, partial: PartialFile) -> Delivered:
        """Fills `partial` with the media of `video`, requested as `identity`.

        Raises:
            MienError: with `usage_requests` and `usage_bytes`.
        """
        from mien.ingest.platforms.ytdlp.session import Meter

        meter = Meter()
        work = partial.work_folder()
        try:
            metadata = self._fetch(video, identity, partial, work, meter)
        except BaseException as error:
            if isinstance(error, MienError):
                error.usage_requests, error.usage_bytes = meter.requests, meter.bytes
                if error.policy is Policy.PERMANENT:
                    shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
        return Delivered(metadata=metadata, requests=meter.requests, bytes=meter.bytes)

    def _fetch(
        self, video: VideoRef, identity: Identity, partial: PartialFile, work: Path, meter: Meter
    ) -> VideoMetadata:
        from mien.ingest.platforms.ytdlp.session import Session

        secrets = secrets_of(identity, self.ytdlp_options)
        params = download_options(
            identity,
            ytdlp_options=self.ytdlp_options,
            timeout_seconds=self.timeout_seconds,
            target=work,
        )
        if self.policy.format:
            params["format"] = self.policy.format
        judge = _Judge(video, self.policy)
        url, fragment = urldefrag(video.uri)
        item = fragment.removeprefix(ITEM) if fragment.startswith(ITEM) else "1"
        guard = _SizeGuard(partial, self.max_bytes, video.key)
        params |= {"match_filter": judge, "progress_hooks": [guard], "playlist_items": item}
        try:
            with Session(params, meter, self.rules, only_public=self.only_public) as session:
                info = session.extract_info(url, ie_key=self.rules.ie_key)
        except Exception as error:
            failed = translated(
                error,
                name=video.key,
                secrets=secrets,
                warnings=params["logger"].warnings,
                failures=meter.failures,
                rules=self.rules,
            )
            # The exception of yt-dlp may hold secrets; the cause that `translated` sets does not.
            raise failed from failed.__cause__
        info = _only_video(info)
        partial.adopt(_file_of(info, work, video.key))
        return judge.metadata or metadata_of(info)


class _Judge:
    """yt-dlp's `match_filter`: called with all metadata, before any media is requested."""

    def __init__(self, video: VideoRef, policy: AcceptancePolicy) -> None:
        self._video, self._policy = video, policy
        self.metadata: VideoMetadata | None = None

    def __call__(self, info: dict[str, Any], *, incomplete: Any = False) -> None:
        if info.get("_type", "video") != "video" or not {"formats", "url"} & info.keys():
            return
        self.metadata = metadata_of(info)
        error = refusal(self.metadata, self._video, self._policy, now=time.time())
        if error is not None:
            raise error


class _SizeGuard:
    """yt-dlp's `progress_hooks`: reserves room before bytes arrive, and compares their number."""

    def __init__(self, partial: PartialFile, max_bytes: int | None, name: str) -> None:
        self._partial, self._max_bytes, self._name = partial, max_bytes, name
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
            self._partial.reserve(total)
        if status.get("status") == "finished":
            self._check_whole(Path(file), status.get("info_dict") or {})

    def _check_whole(self, file: Path, info: Mapping[str, Any]) -> None:
        declared = info.get("filesize")
        if not isinstance(declared, int) or info.get("fragments"):
            return
        size = file.stat().st_size
        if abs(size - declared) > SIZE_SLACK_BYTES:
            # It must not be resumed.
            file.unlink()
            raise IncompleteTransferError(
                f"{self._name}: {size:,} bytes of media arrived, {declared:,} were declared; it is retried"
            )


def _only_video(info: Any) -> Any:
    """The requested video; a page with several videos gives a playlist of the one that was selected."""
    if isinstance(info, Mapping) and info.get("_type") in {"playlist", "multi_video"}:
        return next((entry for entry in info.get("entries") or () if entry), {})
    return info


def _file_of(info: Any, work: Path, name: str) -> Path:
    """The one file that was created; a success reported by yt-dlp is not enough."""
    downloads = info.get("requested_downloads") if isinstance(info, Mapping) else None
    paths = [Path(str(entry.get("filepath") or "")) for entry in downloads or ()]
    if len(paths) != 1 or paths[0].parent != work or not paths[0].is_file():
        raise IncompleteTransferError(f"{name}: yt-dlp reports success but left no file; it is retried")
    return paths[0]
