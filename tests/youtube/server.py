"""A YouTube on loopback that an unmodified yt-dlp takes for the real one.

    videos = [Video(id="aaaaaaaaaa1", media=film), Video(id="aaaaaaaaaa2", fault=Fault.PRIVATE)]
    with YouTubeDouble(videos) as youtube:
        yt_dlp.YoutubeDL({"proxy": youtube.proxy, "nocheckcertificate": True, ...})
        youtube.requests       # everything that was asked, in order
        youtube.fault(Fault.RATE_LIMITED, times=3)               # the whole site, three answers long
        youtube.fault(Fault.MEDIA_RESET, "aaaaaaaaaa1", times=1)  # one video

`proxy_of("egress")` is the same port with a user name, which the requests carry as `identity`.
A search finds what `results[query]` names, or else every video; `playlists[id]` names videos; channels are
made of the videos' channels. Pages hold `page_size` videos.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.youtube import site
from tests.youtube.proxy import Handler, Incoming, ProxyServer
from tests.youtube.video import Fault, Video


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that reached the double."""

    at: float
    """Seconds on the monotonic clock."""
    identity: str
    method: str
    host: str
    path: str
    client: str
    """The client that yt-dlp says to be: WEB, VISIONOS …; "" for media and pages."""
    video_id: str
    query: str
    """Of a search, or the continuation token of a further page."""
    range: str
    user_agent: str
    cookies: frozenset[str]

    @property
    def is_media(self) -> bool:
        return self.path == "/videoplayback"


class YouTubeDouble:
    def __init__(
        self,
        videos: Iterable[Video],
        *,
        page_size: int = 20,
        password: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`password`: that of the proxy, if it asks for one. `clock`: seconds since the epoch."""
        self.videos = {video.id: video for video in videos}
        self.results: dict[str, list[str]] = {}
        self.playlists: dict[str, list[str]] = {}
        self.page_size = page_size
        self.clock = clock
        self.requests: list[Request] = []
        self.bytes_sent: dict[str, int] = {}
        """Of media, by video id."""
        self.closing = threading.Event()
        self._password = password
        self._faults: dict[str, tuple[Fault, int | None]] = {}
        self._shown: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = ProxyServer(self._answer, password)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        for video in self.videos.values():
            if video.fault is not None:
                self.fault(video.fault, video.id, times=video.fault_times)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def proxy_of(self, identity: str) -> str:
        """The proxy with a user name, and the password if one is asked for ("secret" if none is)."""
        return f"http://{identity}:{self._password or 'secret'}@127.0.0.1:{self.port}"

    def fault(self, fault: Fault, video_id: str = "", *, times: int | None = None) -> None:
        """From now on, for one video or ("") for everything; `times`: after that many answers it is over."""
        with self._lock:
            self._faults[video_id] = (fault, times)

    def heal(self, video_id: str = "") -> None:
        """Ends the fault of a video, or ("") that of the whole site."""
        with self._lock:
            self._faults.pop(video_id, None)

    def asked(self, path: str = "", *, video_id: str = "", identity: str | None = None) -> list[Request]:
        """The requests whose path ends so, in order: "/search", "/player", "/videoplayback"."""
        with self._lock:
            return [
                request
                for request in self.requests
                if request.path.endswith(path)
                and video_id in ("", request.video_id)
                and identity in (None, request.identity)
            ]

    def title(self, video: Video) -> str:
        """What it is called this time."""
        with self._lock:
            shown = self._shown.get(video.id, 0)
            self._shown[video.id] = shown + 1
        titles = (video.title, *video.later_titles)
        return titles[min(shown, len(titles) - 1)]

    def take_fault(self, video_id: str, kinds: frozenset[Fault]) -> Fault | None:
        """The fault that this answer has, of the site or else of the video; counts it."""
        with self._lock:
            for key in ("", video_id):
                fault, left = self._faults.get(key, (None, None))
                if fault is None or fault not in kinds:
                    continue
                if left is not None:
                    if left <= 1:
                        del self._faults[key]
                    else:
                        self._faults[key] = (fault, left - 1)
                    if left <= 0:
                        continue
                return fault
        return None

    def count_bytes(self, video_id: str, sent: int) -> None:
        with self._lock:
            self.bytes_sent[video_id] = self.bytes_sent.get(video_id, 0) + sent

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: Handler, incoming: Incoming) -> None:
        body, query = incoming.body, incoming.query
        client = body.get("context", {}).get("client", {}).get("clientName", "")
        request = Request(
            at=time.monotonic(),
            identity=incoming.identity,
            method=incoming.method,
            host=incoming.host,
            path=incoming.path,
            client=client,
            video_id=body.get("videoId") or query.get("v") or query.get("id") or "",
            query=body.get("query") or body.get("continuation") or "",
            range=incoming.headers.get("range", ""),
            user_agent=incoming.headers.get("user-agent", ""),
            cookies=incoming.cookies,
        )
        with self._lock:
            self.requests.append(request)
        site.answer(self, handler, incoming, request.video_id)
