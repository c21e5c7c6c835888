"""Downloads from official URLs. A host that cannot be reached is tried only once per process."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from mien.ingest.errors import WeightsError

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0

_unreachable: dict[str, str] = {}


def download(url: str, target: Path, *, max_bytes: int, progress: Callable[[int], None]) -> None:
    """Writes the response of `url` to `target`. `progress` receives the number of bytes of each chunk.

    Raises WeightsError if the host cannot be reached, the status is not 200, or the response exceeds
    `max_bytes` (a login page, another file).
    """
    import httpx

    host = urlsplit(url).netloc.rpartition("@")[2] or url
    if host in _unreachable:
        raise WeightsError(f"{host} is unreachable ({_unreachable[host]})")
    received = 0
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        _check_resolves(urlsplit(url).hostname or host)
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=timeout) as response,
            target.open("wb") as file,
        ):
            if response.status_code != httpx.codes.OK:
                raise WeightsError(f"{host} answered {response.status_code}")
            for chunk in response.iter_bytes(1 << 18):
                received += len(chunk)
                if received > max_bytes:
                    raise WeightsError(f"{host} sent more than the {max_bytes} bytes of the file")
                file.write(chunk)
                progress(len(chunk))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, socket.gaierror) as error:
        _unreachable[host] = _reason(error)
        raise WeightsError(f"{host} is unreachable ({_reason(error)})") from error
    except httpx.HTTPError as error:
        raise WeightsError(
            f"{host} closed the connection after {received} bytes ({_reason(error)})"
        ) from error


def _check_resolves(host: str) -> None:
    """Raises gaierror if the name does not resolve in time.

    httpx's connect timeout does not cover name resolution, which can take half a minute on a network that
    drops the resolver's packets. Behind a proxy the proxy resolves names, so nothing is checked.
    """
    proxies = urllib.request.getproxies()
    if ("https" in proxies or "all" in proxies) and not urllib.request.proxy_bypass(host):
        return
    failure: list[OSError] = [socket.gaierror(f"name not resolved within {CONNECT_SECONDS:.0f} s")]

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
        except OSError as error:
            failure[0] = error
        else:
            failure.clear()

    thread = threading.Thread(target=resolve, daemon=True, name=f"resolve {host}")
    thread.start()
    thread.join(CONNECT_SECONDS)
    if failure:
        raise failure[0]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
