"""Whether the proxies that downloads use answer: those of the identities and those of the environment.

An identity without a proxy uses the environment's (http_proxy, https_proxy, all_proxy; no_proxy excludes
hosts). Plain files use the variable of their scheme. YouTube uses https_proxy, or http_proxy if it is not
set, as yt-dlp does. Variables that no waiting video uses are not checked.
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
from mien.cluster.doctor.pending_videos import has_waiting_videos, waiting_hosts
from mien.ingest.errors import one_line
from mien.ingest.platforms import PLATFORMS
from mien.ingest.rate.identity import Identity

TIMEOUT_SECONDS = 10.0
_PLATFORM_HOST, _, _port = next(
    platform.probe_address for platform in PLATFORMS.values() if platform.probe_address
).partition(":")
_PLATFORM_PORT = int(_port)
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


def proxies(settings: Settings) -> Iterator[Check]:
    """The proxies of the identities."""
    for identity in settings.acquire.identities:
        if identity.proxy:
            yield _probe(identity)


def platform_proxy(settings: Settings) -> Iterator[Check]:
    """The environment's proxy to the platform, if an identity has no proxy."""
    variable = _variable(_PLATFORM_HOST, ("https", "http", "all"))
    if variable and not all(identity.proxy for identity in settings.acquire.identities):
        address = os.environ[variable]
        yield _probe_variable(variable, address if "://" in address else f"http://{address}", tunnel=True)


def plain_proxy(settings: Settings) -> Iterator[Check]:
    """The proxy for plain files: the first identity's, or the environment's.

    Only the connection is tested, because this proxy need not reach any platform.
    """
    first = settings.acquire.identities[0]
    if first.proxy:
        yield _probe(first, tunnel=False)
    elif set(getproxies()) & {"http", "https", "all"}:
        for variable in sorted(_variables(waiting_hosts(settings))):
            yield _probe_variable(variable, os.environ[variable], tunnel=False)


def environment_proxies(settings: Settings) -> Iterator[Check]:
    """For `mien doctor`: the environment's proxies that waiting videos use, each once."""
    found = {each.name: each for each in platform_proxy(settings)} if has_waiting_videos(settings) else {}
    if not settings.acquire.identities[0].proxy:
        found = {each.name: each for each in plain_proxy(settings)} | found
    yield from found.values() or [Check.ok("environment proxies", "not used by any waiting video")]


def _variables(hosts: Collection[tuple[str, str]]) -> set[str]:
    """The variables that define the proxies for `hosts`, which are pairs of scheme and host."""
    return {_variable(host, (scheme, "all")) for scheme, host in hosts} - {""}


def _variable(host: str, schemes: tuple[str, ...]) -> str:
    """The variable of the first of `schemes` that is set; "" if none is, or if no_proxy includes `host`."""
    found = getproxies()
    scheme = next((each for each in schemes if found.get(each)), "")
    if not scheme or proxy_bypass(host):
        return ""
    written = (name for name in os.environ if name.lower() == f"{scheme}_proxy")
    return next((name for name in written if os.environ[name] == found[scheme]), "")


def _probe_variable(variable: str, address: str, *, tunnel: bool) -> Check:
    try:
        named = Identity(variable, proxy=address)
    except ValueError:
        problem = "the value is not a proxy address of the form scheme://host:port"
        return Check.fail(f"proxy {variable}", problem, f"correct or unset {variable}")
    return _probe(named, tunnel=tunnel, fix=f"correct or unset {variable}, or add the host to no_proxy")


def _probe(identity: Identity, *, tunnel: bool = True, fix: str = "") -> Check:
    """Connects and, for an HTTP proxy, opens a tunnel: only that shows whether the login is accepted."""
    name, parts = f"proxy {identity.name}", urlsplit(identity.proxy)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    fix = fix or f"correct the proxy of identity {identity.name}, or start it"
    if parts.scheme not in _DEFAULT_PORTS:
        return Check.fail(name, f"unsupported proxy scheme {parts.scheme}://", fix)
    shown = f"{parts.scheme}://{host}:{port}"
    try:
        if parts.scheme == "http" and tunnel:
            _open_tunnel(host, port, parts.username, parts.password)
        else:
            socket.create_connection((host, port), timeout=TIMEOUT_SECONDS).close()
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Check.fail(name, f"{shown} does not work: {one_line(str(reason), 120)}", fix)
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
