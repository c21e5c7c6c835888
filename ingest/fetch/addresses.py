"""Checks which hosts may be requested.

A list of URLs is untrusted input. It must not give access to the operator's network (server-side request
forgery, OWASP A10): not directly, not by a redirect, and not by a name whose address changes between the
check and the connection. So a name is resolved once, its addresses are checked, and the connection uses one
of them.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from mien.ingest.errors import FetchError, PrivateAddressError

Resolver = Callable[[str, int], list[str]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`, in the order in which the system would try them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(f"{host}: the name cannot be resolved ({error}); check the address") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def checked_addresses(
    host: str, port: int, *, allow_private: bool, resolver: Resolver = resolve
) -> list[str]:
    """The addresses that `host` resolves to.

    Raises:
        FetchError: the name cannot be resolved (retry).
        PrivateAddressError: one of its addresses is not public.
    """
    addresses = resolver(host, port)
    if not allow_private:
        for address in addresses:
            check_public(address, host)
    return addresses


def check_public(address: str, host: str) -> None:
    """Raises PrivateAddressError if `address` (of `host`) is not in the public internet."""
    if not is_public(address):
        shown = host if host == address else f"{host} ({address})"
        raise PrivateAddressError(
            f"{shown}: this is not a public address; "
            "set fetch.allow_private_addresses if it is your own server"
        )


def is_public(address: str) -> bool:
    """Whether `address` is in the public internet: not loopback, private, link-local, shared or multicast."""
    parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = parsed.ipv4_mapped or parsed.sixtofour
        if embedded is None and parsed in _NAT64:
            embedded = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        parsed = embedded or parsed
    return parsed.is_global and not parsed.is_multicast
