"""Whether the proxies answer through which something is to be fetched: the identities' and the environment's.

The environment's (http_proxy, https_proxy, all_proxy, less no_proxy) are those of who names none: plain files
go through the variable of their scheme, YouTube through that of https, or else, as yt-dlp does it, of http.
A variable that nothing waiting goes through is nobody's concern.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import socket
import ssl
from collections.abc import Collection, Iterator
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.cluster.doctor.pending_videos import plain_hosts, videos_wait
from mien.ingest.errors import one_line
from mien.ingest.rate.identity import Identity

TIMEOUT_SECONDS = 10.0
_PLATFORM_HOST, _PLATFORM_PORT = "www.youtube.com", 443
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


def proxies(settings: Settings) -> Iterator[Check]:
    """Of the identities."""
    for identity in settings.acquire.identities:
        if identity.proxy:
            yield _asked(identity)


def platform_proxy(settings: Settings) -> Iterator[Check]:
    """The environment's, on the way to the platform, where an identity names none."""
    variable = _variable(_PLATFORM_HOST, ("https", "http", "all"))
    if variable and not all(identity.proxy for identity in settings.acquire.identities):
        address = os.environ[variable]
        yield _named(variable, address if "://" in address else f"http://{address}", tunnel=True)


def plain_proxy(settings: Settings) -> Iterator[Check]:
    """Plain files come through the first identity's proxy, else the environment's. Nothing is asked of it:
    it need not lead to any platform."""
    first = settings.acquire.identities[0]
    if first.proxy:
        yield _asked(first, tunnel=False)
    elif set(getproxies()) & {"http", "https", "all"}:
        for variable in sorted(_variables(plain_hosts(settings))):
            yield _named(variable, os.environ[variable], tunnel=False)


def environment_proxies(settings: Settings) -> Iterator[Check]:
    """For the doctor: of what waits, each once; those of identities are looked at anyway."""
    told = {each.name: each for each in platform_proxy(settings)} if videos_wait(settings) else {}
    if not settings.acquire.identities[0].proxy:
        told = {each.name: each for each in plain_proxy(settings)} | told
    yield from told.values() or [Check.ok("environment proxies", "nothing that waits goes through any")]


def _variables(hosts: Collection[tuple[str, str]]) -> set[str]:
    """Names of the variables through whose proxies these are asked: each a scheme and a host."""
    return {_variable(host, (scheme, "all")) for scheme, host in hosts} - {""}


def _variable(host: str, schemes: tuple[str, ...]) -> str:
    """The variable of the first of `schemes` that has one; "" where none has, or `host` is in no_proxy."""
    found = getproxies()
    scheme = next((each for each in schemes if found.get(each)), "")
    if not scheme or proxy_bypass(host):
        return ""
    written = (name for name in os.environ if name.lower() == f"{scheme}_proxy")
    return next((name for name in written if os.environ[name] == found[scheme]), "")


def _named(variable: str, address: str, *, tunnel: bool) -> Check:
    try:
        named = Identity(variable, proxy=address)
    except ValueError:
        problem = "the environment names a proxy that is no address; got no scheme://host:port"
        return Check.fail(f"proxy {variable}", problem, f"correct or unset {variable}")
    return _asked(named, tunnel=tunnel, cure=f"correct or unset {variable}, or name the host in no_proxy")


def _asked(identity: Identity, *, tunnel: bool = True, cure: str = "") -> Check:
    """Reached and, where it speaks HTTP, asked for a tunnel: only that shows whether it takes the login."""
    name, parts = f"proxy {identity.name}", urlsplit(identity.proxy)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    cure = cure or f"correct the proxy of identity {identity.name}, or start it"
    if parts.scheme not in _DEFAULT_PORTS:
        return Check.fail(name, f"{parts.scheme}:// is no kind of proxy", cure)
    shown = f"{parts.scheme}://{host}:{port}"
    try:
        if parts.scheme == "http" and tunnel:
            _open_tunnel(host, port, parts.username, parts.password)
        else:
            socket.create_connection((host, port), timeout=TIMEOUT_SECONDS).close()
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Check.fail(name, f"{shown} does not serve: {one_line(str(said), 120)}", cure)
    return Check.ok(name, f"{shown} answers")


def _open_tunnel(host: str, port: int, user: str | None, password: str | None) -> None:
    headers = {}
    if user or password:
        login = f"{unquote(user or '')}:{unquote(password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.set_tunnel(_PLATFORM_HOST, _PLATFORM_PORT, headers)
        connection.connect()
