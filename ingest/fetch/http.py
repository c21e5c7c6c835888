"""Downloads one file over HTTP: resumes interrupted transfers, retries transient errors, checks the size."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from mien.ingest.errors import (
    FetchError,
    IncompleteTransferError,
    Policy,
    ProxyError,
    RejectedRequestError,
    TooLargeError,
    one_line,
)
from mien.ingest.fetch.addresses import Resolver, check_public, checked_addresses, resolve
from mien.ingest.fetch.responses import Progress, begin, refusal
from mien.ingest.storage.location import redact

if TYPE_CHECKING:
    import httpx

    from mien.ingest.fetch.partial_file import PartialFile

MAX_REDIRECTS = 10
MAX_CLIENTS = MAX_REDIRECTS + 2
"""Hosts per thread with open connections. One download visits fewer, so no client is closed while in use."""
MAX_WAIT_SECONDS = 60.0
"""The longest pause inside a worker. If the server asks for a longer one, the catalog postpones the video."""
READ_BYTES = 256 << 10
"""Size of one read. httpcore's default of 64 KiB costs a tenth more CPU; 1 MiB exceeds the CPU cache."""
FRUITFUL_BYTES = 1 << 20
MIN_BYTES_PER_SECOND = 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429, 503})
"""Statuses that ask for fewer requests, or for a later one."""


class HttpDownloader:
    """Downloads files.

    `attempts` limits attempts in a row without real progress; ten times as many in all end a download.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        allow_private_addresses: bool = False,
        max_bytes: int | None = None,
        attempts: int = 5,
        resolver: Resolver = resolve,
    ) -> None:
        import httpcore
        import httpx

        httpcore.HTTP11Connection.READ_NUM_BYTES = READ_BYTES  # httpcore has no other setting for it
        self.timeout_seconds = timeout_seconds
        self.allow_private_addresses = allow_private_addresses
        self.max_bytes = max_bytes
        self.attempts = attempts
        self.resolver = resolver
        self._tls = httpx.create_ssl_context()
        self._of_thread = threading.local()

    def download(self, url: str, partial: PartialFile, *, proxy: str = "") -> bool:
        """Fills `partial` with the file at `url`; False if the server did not declare its length.

        `proxy`: its address; "" uses the proxy of the environment, if there is one.

        Raises:
            FetchError: one of its classes, after the last attempt.
            AccessDeniedError: 401, 403, 451.
            TooLargeError: more than `max_bytes`.
        """
        progress = Progress()
        if info := partial.resume():
            progress.total_bytes, progress.validator = info.total_bytes, info.validator
        retrying = Retrying(
            stop=lambda state: self._is_enough(state, progress),
            wait=_wait,
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        retrying(self._attempt, url, partial, progress, proxy)
        return progress.total_bytes is not None

    def _is_enough(self, state: RetryCallState, progress: Progress) -> bool:
        return progress.fruitless >= self.attempts or state.attempt_number >= 10 * self.attempts

    def _attempt(self, url: str, partial: PartialFile, progress: Progress, proxy: str) -> None:
        import httpx

        name = redact(url)
        before = partial.position
        try:
            with self._open(url, partial.position, progress, proxy) as response:
                if begin(response, progress, partial.position, name) == 0:
                    partial.restart()  # also at 0: an earlier validator does not hold for this response
                    before = 0
                self._receive(response, partial, progress, name)
        except httpx.ProxyError as error:
            raise ProxyError(_proxy_failed(name, error)) from error
        except httpx.ConnectError as error:
            kind = ProxyError if proxy else IncompleteTransferError
            text = f"{name}: no connection ({error}); it is retried"
            raise kind(_proxy_failed(name, error) if proxy else one_line(text)) from error
        except httpx.TimeoutException as error:
            raise IncompleteTransferError(
                f"{name}: no data for {self.timeout_seconds:g} s; it is retried later"
            ) from error
        except httpx.TransportError as error:
            broke = f"{name}: the connection failed after {partial.position:,} bytes"
            raise IncompleteTransferError(one_line(f"{broke} ({error}); it is retried")) from error
        except httpx.InvalidURL as error:
            raise RejectedRequestError(f"{name}: not an address ({error}); correct it") from error
        finally:
            gained = partial.position - before
            progress.fruitless = 0 if gained >= FRUITFUL_BYTES else progress.fruitless + 1
            if progress.total_bytes is None and partial.proof is not None:
                partial.restart()  # the server cannot resume the file

    def _receive(self, response: httpx.Response, partial: PartialFile, progress: Progress, name: str) -> None:
        total = progress.total_bytes
        if total is not None:
            self._check_size(total, name)
            partial.reserve(total)
            if progress.validator:
                partial.prove(total, progress.validator)
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        chunks = response.iter_bytes() if encoded else response.iter_raw()
        window_began, window_position = time.monotonic(), partial.position
        for chunk in chunks:
            self._check_size(partial.position + len(chunk), name)
            partial.write(chunk)
            elapsed = time.monotonic() - window_began
            if elapsed >= self.timeout_seconds:
                if partial.position - window_position < MIN_BYTES_PER_SECOND * elapsed:
                    raise IncompleteTransferError(f"{name}: the transfer is too slow; it is retried later")
                window_began, window_position = time.monotonic(), partial.position
        if total is not None and partial.position != total:
            raise IncompleteTransferError(
                f"{name}: {partial.position:,} of {total:,} declared bytes arrived; it is retried"
            )

    def _check_size(self, size: int, name: str) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise TooLargeError(
                f"{name}: more than the {self.max_bytes:,} bytes allowed; raise fetch.max_bytes"
            )

    @contextmanager
    def _open(self, url: str, position: int, progress: Progress, proxy: str) -> Iterator[httpx.Response]:
        """The answer to a GET of `url` from `position`, after its redirects; 200 or 206."""
        import httpx

        # If the transfer were compressed, its length and ranges would not be those of the file.
        headers = {"Accept-Encoding": "identity", "User-Agent": "mien", "Accept": "*/*"}
        if position and progress.total_bytes is not None:
            headers["Range"] = f"bytes={position}-"
            if progress.validator:
                headers["If-Range"] = progress.validator
        target = httpx.URL(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self._send(target, headers, proxy) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    error = refusal(response, redact(url))
                    if error is not None and "Range" in headers and response.status_code not in _LATER:
                        # The server may refuse only ranges, so the whole file is requested at once.
                        del headers["Range"]
                        headers.pop("If-Range", None)
                        target = httpx.URL(url)
                        continue
                    if error is not None:
                        raise error
                    yield response
                    return
                target = target.join(location).copy_with(userinfo=b"")
        raise RejectedRequestError(f"{redact(url)}: more than {MAX_REDIRECTS} redirects; check the address")

    @contextmanager
    def _send(self, url: httpx.URL, headers: dict[str, str], proxy: str) -> Iterator[httpx.Response]:
        import httpx

        if url.scheme not in {"http", "https"} or not url.host:
            raise RejectedRequestError(
                f"{redact(str(url))}: only http and https are followed; check the address"
            )
        if proxy := proxy or _environment_proxy(url):
            # The proxy resolves the name, so only a literal address can be checked here.
            self._check_literal(url.host)
            with self._client(url, proxy).stream("GET", url, headers=headers) as response:
                yield response
            return
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = checked_addresses(
            url.host, port, allow_private=self.allow_private_addresses, resolver=self.resolver
        )
        headers = {**headers, "Host": url.netloc.decode("ascii")}
        # The certificate is checked against the name, not against the address of the connection.
        extensions = {"sni_hostname": url.raw_host.decode("ascii").strip("[]")}
        client = self._client(url, "")
        for tried, address in enumerate(addresses, start=1):
            request = client.build_request(
                "GET", url.copy_with(host=address), headers=headers, extensions=extensions
            )
            try:
                response = client.send(request, stream=True, follow_redirects=False)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if tried == len(addresses):
                    raise
                continue
            try:
                yield response
            finally:
                response.close()
            return
        raise FetchError(f"{url.host}: the name has no address; check it")

    def _client(self, url: httpx.URL, proxy: str) -> httpx.Client:
        """This thread's client for the host of `url`, whose open connections are reused.

        Each host has its own client: two names at one address must not share a connection, since its
        certificate was checked against only one of them.
        """
        import httpx

        if not hasattr(self._of_thread, "clients"):
            self._of_thread.clients = OrderedDict()
        clients: OrderedDict[tuple[str, ...], httpx.Client] = self._of_thread.clients
        key = (proxy, url.scheme, url.netloc.decode("ascii"))
        client = clients.pop(key, None)
        if client is None:
            options: dict[str, Any] = {"timeout": self.timeout_seconds, "verify": self._tls}
            client = httpx.Client(proxy=proxy or None, trust_env=False, **options)
        clients[key] = client
        while len(clients) > MAX_CLIENTS:
            clients.popitem(last=False)[1].close()
        return client

    def _check_literal(self, host: str) -> None:
        try:
            address = str(ip_address(host))
        except ValueError:
            return
        if not self.allow_private_addresses:
            check_public(address, host)


def _proxy_failed(name: str, error: Exception) -> str:
    return one_line(f"{name}: the proxy failed ({error}); check that it runs and accepts this login")


def _environment_proxy(url: httpx.URL) -> str:
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy and not proxy_bypass(url.host) else ""


def _is_transient(error: BaseException) -> bool:
    if not isinstance(error, FetchError) or error.policy is not Policy.RETRY:
        return False
    return (error.retry_after_seconds or 0.0) <= MAX_WAIT_SECONDS


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    requested = error.retry_after_seconds if isinstance(error, FetchError) else None
    return requested if requested is not None else wait_random_exponential(multiplier=0.5, max=20.0)(state)
