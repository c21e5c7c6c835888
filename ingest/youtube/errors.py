"""From what yt-dlp raises to the class that says what to do next.

An exception tells by its type (a status, a proxy, a certificate), by its words (phrases.py), or only by what
was warned of before it: yt-dlp asks several clients, warns of what each answered, and raises that it has
nothing. What nothing here knows is an `ExtractorError`: asked again a little, and reported with all its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mien.ingest.errors import (
    BotWallError,
    CookiesError,
    ExtractorError,
    FetchError,
    GeoBlockedError,
    IncompleteTransferError,
    LiveError,
    MediaForbiddenError,
    MienError,
    PremiereError,
    ProxyError,
    RateLimitedError,
    RejectedRequestError,
    one_line,
)
from mien.ingest.storage.error_mapping import translate
from mien.ingest.youtube.bot_detection import is_sorry_page
from mien.ingest.youtube.error_patterns import VAGUE, phrase_in, seconds_until
from mien.ingest.youtube.secrets import Secrets

SESSION_PAUSE_SECONDS = 3600.0
"""YouTube's own word for how long a session that asked too much is refused ("for up to an hour")."""
_CHAIN = 12
_RAW_LETTERS = 4000
_PREFIX = re.compile(r"^(?:ERROR:\s*)?(?:\[[\w:+-]+\]\s*)?(?:[\w-]{11}:\s*)?")
_GIVEN_UP = re.compile(r"\bGot error: |Giving up after \d+ retries", re.IGNORECASE)
# urllib3 takes a connection for one to the proxy that was lost while it was used through the proxy.
_DROPPED = re.compile(r"RemoteDisconnected|Connection ?Reset|IncompleteRead", re.IGNORECASE)
# What yt-dlp appends for people who run it by hand.
_ADVICE = re.compile(
    r"\s*(?:Use --cookies|You might want to use a VPN|; please report this issue|It is recommended to use `-t"
    r"|Use --list-formats|\(caused by ).*",
    re.DOTALL,
)
_LATER = "it is asked again later"


class PlatformAnswer(Exception):  # noqa: N818 (it is what was said, not what went wrong)
    """What yt-dlp raised and warned of, in its own words and without secrets: the cause of our error."""


def translated(
    error: BaseException,
    *,
    name: str,
    secrets: Secrets,
    warnings: Sequence[str] = (),
    failures: Sequence[BaseException] = (),
) -> MienError:
    """The error of ours that `error` stands for, with the raw text as its cause.

    Args:
        name: of the video, for the message.
        warnings: what yt-dlp warned of before.
        failures: of single requests that yt-dlp went on after.
    """
    chain = list(_chain(error))
    ours = next((link for link in chain if isinstance(link, MienError)), None)
    if ours is not None:
        return ours
    raw = secrets.redact("\n".join([_named(error), *(f"warning: {text}" for text in warnings)]))
    found = _classified(chain, warnings, failures, name, secrets)
    found.__cause__ = PlatformAnswer(raw[:_RAW_LETTERS])
    found.__suppress_context__ = True
    return found


def _classified(
    chain: list[BaseException],
    warnings: Sequence[str],
    failures: Sequence[BaseException],
    name: str,
    secrets: Secrets,
) -> MienError:
    text = str(chain[0])
    said = secrets.redact(_said(text))
    if VAGUE.search(text):
        # The truer reason comes first: what the clients were answered, then what the network did.
        told = (_by_words(warned, name, secrets) for warned in reversed(_relevant(warnings)))
        met = (
            _by_status(failure, name) or _by_type(failure, name, secrets.redact(_said(str(failure))))
            for failure in reversed(failures)
        )
        found = _first(iter((*told, *met)))
        if found is not None:
            if isinstance(found, RateLimitedError) and found.retry_after_seconds is None:
                found.retry_after_seconds = _asked_wait(failures)
            return found
    if _GIVEN_UP.search(text):
        # The downloader's retries end without the exception that they were for.
        met = ((_by_status(failure, name) or _by_type(failure, name, said)) for failure in reversed(failures))
        return _first(met) or IncompleteTransferError(one_line(f"{name}: {said}; {_LATER}"))
    return (
        _first(_by_status(link, name) for link in chain)
        or _by_words(text, name, secrets)
        or _first(_by_type(link, name, said) for link in chain)
        or _passing(text, name, said)
        or ExtractorError(
            one_line(f"{name}: {said or type(chain[0]).__name__}; mien does not know this answer, report it")
        )
    )


def _first(found: Iterator[MienError | None]) -> MienError | None:
    return next((error for error in found if error is not None), None)


def _asked_wait(failures: Sequence[BaseException]) -> float | None:
    from mien.ingest.fetch.responses import retry_after_seconds

    waits = [
        retry_after_seconds(str(failure.response.headers.get("Retry-After") or ""))
        for failure in failures
        if hasattr(failure, "response")
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _by_words(text: str, name: str, secrets: Secrets) -> MienError | None:
    phrase = phrase_in(text)
    if phrase is None or phrase.kind is FetchError:
        # Which kind of failure the network had is told better by the exception itself.
        return None
    said = secrets.redact(_said(text)).rstrip(".")
    error = phrase.kind(one_line(f"{name}: {said}; {phrase.cure}"))
    if isinstance(error, PremiereError):
        error.retry_after_seconds = seconds_until(text)
    elif isinstance(error, RateLimitedError) and "HTTP Error" not in text:
        error.retry_after_seconds = SESSION_PAUSE_SECONDS
    return error


def _passing(text: str, name: str, said: str) -> MienError | None:
    phrase = phrase_in(text)
    return FetchError(one_line(f"{name}: {said}; {phrase.cure}")) if phrase else None


def _by_type(error: BaseException, name: str, said: str) -> MienError | None:
    from yt_dlp import utils
    from yt_dlp.cookies import CookieLoadError
    from yt_dlp.networking import exceptions as network

    kind: type[MienError] = IncompleteTransferError
    text = f"the connection failed ({said}); {_LATER}"
    if isinstance(error, utils.GeoRestrictedError):
        kind, text = GeoBlockedError, f"{said}; an identity in another country may see it"
    elif isinstance(error, CookieLoadError):
        kind, text = CookiesError, f"{said}; export them again in Netscape's format"
    elif isinstance(error, utils.UserNotLive):
        kind, text = LiveError, f"{said}; it is no recording"
    elif isinstance(error, utils.UnsupportedError):
        kind, text = RejectedRequestError, f"{said}; correct the address"
    elif isinstance(error, network.ProxyError) and not _DROPPED.search(str(error)):
        kind, text = ProxyError, f"the proxy failed ({said}); `mien doctor` tries it"
    elif isinstance(error, network.CertificateVerifyError):
        cure = "if the proxy inspects TLS, install its certificate"
        kind, text = FetchError, f"the certificate is not believed ({said}); {cure}"
    elif isinstance(error, utils.ContentTooShortError | network.IncompleteRead | utils.PostProcessingError):
        text = f"the media is not whole ({said}); {_LATER}"
    elif isinstance(error, network.HTTPError):
        return None
    elif not isinstance(error, network.RequestError):
        return _by_errno(error, name, said) if isinstance(error, OSError) else None
    return kind(one_line(f"{name}: {text}"))


def _by_errno(error: OSError, name: str, said: str) -> MienError:
    if isinstance(error, ConnectionError | TimeoutError):
        return IncompleteTransferError(one_line(f"{name}: the connection failed ({said}); {_LATER}"))
    return translate(error, f"{name}: storing the media")


def _by_status(error: BaseException, name: str) -> MienError | None:
    """For an HTTP status. That of the media and that of a page mean different things."""
    from yt_dlp.networking.exceptions import HTTPError

    # `mien.ingest.fetch` imports this package.
    from mien.ingest.fetch.responses import retry_after_seconds

    if not isinstance(error, HTTPError):
        return None
    status, response = int(error.status), error.response
    is_media = "googlevideo.com" in str(response.url)
    said = f"{name}: {'the media' if is_media else 'YouTube'} answered {status}"
    found: FetchError
    if status in {402, 429} and is_sorry_page(response.url):
        found = BotWallError(f"{said} and a captcha; this identity is left alone for a while")
    elif status in {402, 429}:
        found = RateLimitedError(f"{said}; this identity is left alone for a while")
    elif status == 407:
        found = ProxyError(f"{name}: the proxy wants another login (407); correct the identity's proxy")
    elif is_media and status in {401, 403, 404, 410}:
        # An address is signed for one client, session and hour; the page has a new one.
        found = MediaForbiddenError(f"{said}; it is asked for again with a new address")
    elif status >= 500 or status == 408:
        found = FetchError(f"{said}; {_LATER}")
    else:
        return None
    found.retry_after_seconds = retry_after_seconds(str(response.headers.get("Retry-After") or ""))
    return found


def _relevant(warnings: Sequence[str]) -> list[str]:
    """Without the remarks on formats that some client lacks, which come with many a success, too."""
    return [text for text in warnings if not VAGUE.search(text) and "formats" not in text]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it came from, by whichever of yt-dlp's ways of keeping that."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < _CHAIN:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        kept = getattr(link, "exc_info", None)
        origins = [
            kept[1] if isinstance(kept, tuple) and len(kept) == 3 else None,
            getattr(link, "cause", None),
            link.__cause__,
            link.__context__,
        ]
        waiting += [origin for origin in origins if isinstance(origin, BaseException)]


def _said(text: str) -> str:
    """The reason in the platform's own words, without what yt-dlp wraps around it."""
    return one_line(_ADVICE.sub("", _PREFIX.sub("", text.strip())), 300)


def _named(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}"
