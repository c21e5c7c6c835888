"""Maps what yt-dlp raises to the error class that decides what happens next.

The evidence is the type of the exception (a status, a proxy, a certificate), its words (error_patterns.py),
or only the warnings before it: yt-dlp asks several clients, warns of each answer, and finally raises that it
has nothing. An unknown error is an `ExtractorError`: it is retried and reported with its full text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mien.ingest.errors import (
    AccessDeniedError,
    BotWallError,
    CookiesError,
    ExtractorError,
    FetchError,
    GeoBlockedError,
    GoneError,
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
from mien.ingest.platforms.secrets import Secrets
from mien.ingest.platforms.ytdlp.error_patterns import VAGUE, pattern_in, seconds_until
from mien.ingest.platforms.ytdlp.rules import SiteRules
from mien.ingest.storage.error_mapping import translate

_CHAIN = 12
_RAW_LETTERS = 4000
_PREFIX = re.compile(r"^(?:ERROR:\s*)?(?:\[[\w:+-]+\]\s*)?(?:[\w-]{11}:\s*)?")
_GIVEN_UP = re.compile(r"\bGot error: |Giving up after \d+ retries", re.IGNORECASE)
# urllib3 reports a connection that was lost through the proxy as a failure of the proxy.
_DROPPED = re.compile(r"RemoteDisconnected|Connection ?Reset|IncompleteRead", re.IGNORECASE)
# Advice that yt-dlp appends for people who run it by hand.
_ADVICE = re.compile(
    r"\s*(?:Use --cookies|You might want to use a VPN|; please report this issue|It is recommended to use `-t"
    r"|Use --list-formats|\(caused by ).*",
    re.DOTALL,
)
_LATER = "it is retried later"


class PlatformAnswer(Exception):  # noqa: N818 (it is an answer)
    """What yt-dlp raised and warned of, without secrets: the cause of our error."""


def translated(
    error: BaseException,
    *,
    name: str,
    secrets: Secrets,
    warnings: Sequence[str] = (),
    failures: Sequence[BaseException] = (),
    rules: SiteRules,
) -> MienError:
    """The error of ours that `error` stands for, with the raw text as its cause.

    Args:
        name: of the video, for the message.
        warnings: what yt-dlp warned of before.
        failures: of single requests after which yt-dlp continued.
        rules: of the site that answered.
    """
    chain = list(_chain(error))
    ours = next((link for link in chain if isinstance(link, MienError)), None)
    if ours is not None:
        return ours
    raw = secrets.redact("\n".join([_named(error), *(f"warning: {text}" for text in warnings)]))
    found = _Answers(name, secrets, rules, chain).classified(warnings, failures)
    found.__cause__ = PlatformAnswer(raw[:_RAW_LETTERS])
    found.__suppress_context__ = True
    return found


class _Answers:
    """The classification of one failed call."""

    def __init__(self, name: str, secrets: Secrets, rules: SiteRules, chain: Sequence[BaseException]) -> None:
        self.name, self.secrets, self.rules, self.chain = name, secrets, rules, chain

    def classified(self, warnings: Sequence[str], failures: Sequence[BaseException]) -> MienError:
        name, text = self.name, str(self.chain[0])
        reason = self.secrets.redact(_reason(text))
        if VAGUE.search(text):
            # The better reason comes first: what the clients were answered, then what the network did.
            answers = (self._by_words(warning) for warning in reversed(_relevant(warnings)))
            failed = (
                self._by_status(failure)
                or _by_type(failure, name, self.secrets.redact(_reason(str(failure))))
                for failure in reversed(failures)
            )
            found = _first(iter((*answers, *failed)))
            if found is not None:
                if isinstance(found, RateLimitedError) and found.retry_after_seconds is None:
                    found.retry_after_seconds = _requested_wait(failures)
                return found
        if _GIVEN_UP.search(text):
            # The downloader's retries end without the exception that caused them.
            failed = (
                (self._by_status(failure) or _by_type(failure, name, reason))
                for failure in reversed(failures)
            )
            return _first(failed) or IncompleteTransferError(one_line(f"{name}: {reason}; {_LATER}"))
        return (
            _first(self._by_status(link) for link in self.chain)
            or self._by_words(text)
            or _first(_by_type(link, name, reason) for link in self.chain)
            or _transient(text, name, reason)
            or ExtractorError(
                one_line(
                    f"{name}: {reason or type(self.chain[0]).__name__}; "
                    "mien does not know this answer, please report it"
                )
            )
        )

    def _by_words(self, text: str) -> MienError | None:
        pattern = pattern_in(text)
        if pattern is None or pattern.kind is FetchError:
            # The exception itself tells better which kind of network failure it was.
            return None
        reason = self.secrets.redact(_reason(text)).rstrip(".")
        error = pattern.kind(one_line(f"{self.name}: {reason}; {pattern.cure}"))
        if isinstance(error, PremiereError):
            error.retry_after_seconds = seconds_until(text)
        elif isinstance(error, RateLimitedError):
            if "HTTP Error" not in text:
                error.retry_after_seconds = self.rules.session_pause_seconds
            else:
                error.retry_after_seconds = _refusal_wait(self.chain)
        return error

    def _by_status(self, error: BaseException) -> MienError | None:
        """By HTTP status, which means different things for the media and for a page."""
        from yt_dlp.networking.exceptions import HTTPError
        from yt_dlp.utils import ExtractorError as PageError

        # `mien.ingest.fetch` imports this package.
        from mien.ingest.fetch.responses import retry_after_seconds

        if not isinstance(error, HTTPError):
            return None
        status, response = int(error.status), error.response
        in_extraction = any(isinstance(link, PageError) for link in self.chain)
        is_media = self.rules.is_media(str(response.url), in_extraction=in_extraction)
        answer = f"{self.name}: {'the media server' if is_media else self.rules.title} answered {status}"
        refused = f"{self.name}: {self.rules.title} answered {status}"
        found: MienError
        if status in self.rules.refusal_statuses and self.rules.is_captcha(response.url):
            found = BotWallError(f"{refused} and a captcha; this identity is paused")
        elif status in self.rules.refusal_statuses:
            found = RateLimitedError(f"{refused}; this identity is paused")
        elif status == 407:
            found = ProxyError(
                f"{self.name}: the proxy refuses the login (407); correct the identity's proxy"
            )
        elif is_media and status in {401, 403, 404, 410}:
            # A media URL is signed for one client, session and hour; the page has a new one.
            found = MediaForbiddenError(f"{answer}; it is retried with a new URL")
        elif status >= 500 or status == 408:
            found = FetchError(f"{answer}; {_LATER}")
        elif self.rules.hosts:
            return None  # a platform explains its pages in words
        elif str(response.headers.get("cf-mitigated") or "") == "challenge":
            found = BotWallError(f"{answer} and a bot check; this identity is paused")
        elif status in {404, 410}:
            found = GoneError(f"{answer}; the page does not exist any more")
        elif status in {401, 402, 403, 451}:
            found = AccessDeniedError(f"{answer}; the page is not public")
        else:
            return None
        if isinstance(found, FetchError):
            found.retry_after_seconds = retry_after_seconds(str(response.headers.get("Retry-After") or ""))
        return found


def _first(found: Iterator[MienError | None]) -> MienError | None:
    return next((error for error in found if error is not None), None)


def _requested_wait(failures: Sequence[BaseException]) -> float | None:
    from mien.ingest.fetch.responses import retry_after_seconds

    waits = [
        retry_after_seconds(str(failure.response.headers.get("Retry-After") or ""))
        for failure in failures
        if hasattr(failure, "response")
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _refusal_wait(chain: Sequence[BaseException]) -> float | None:
    """Retry-After of a refusal that ended the call (`session.Refused`)."""
    from mien.ingest.fetch.responses import retry_after_seconds

    waits = [retry_after_seconds(str(getattr(link, "retry_after", ""))) for link in chain]
    return max((wait for wait in waits if wait is not None), default=None)


def _transient(text: str, name: str, reason: str) -> MienError | None:
    pattern = pattern_in(text)
    return FetchError(one_line(f"{name}: {reason}; {pattern.cure}")) if pattern else None


def _by_type(error: BaseException, name: str, reason: str) -> MienError | None:
    from yt_dlp import utils
    from yt_dlp.cookies import CookieLoadError
    from yt_dlp.networking import exceptions as network

    kind: type[MienError] = IncompleteTransferError
    text = f"the connection failed ({reason}); {_LATER}"
    if isinstance(error, utils.GeoRestrictedError):
        kind, text = GeoBlockedError, f"{reason}; an identity in another country may see it"
    elif isinstance(error, CookieLoadError):
        kind, text = CookiesError, f"{reason}; export them again in Netscape's format"
    elif isinstance(error, utils.UserNotLive):
        kind, text = LiveError, f"{reason}; it is no recording"
    elif isinstance(error, utils.UnsupportedError):
        kind, text = RejectedRequestError, f"{reason}; correct the address"
    elif isinstance(error, network.ProxyError) and not _DROPPED.search(str(error)):
        kind, text = ProxyError, f"the proxy failed ({reason}); `mien doctor` tries it"
    elif isinstance(error, network.CertificateVerifyError):
        cure = "if the proxy inspects TLS, install its certificate"
        kind, text = FetchError, f"the certificate is not believed ({reason}); {cure}"
    elif isinstance(error, utils.ContentTooShortError | network.IncompleteRead | utils.PostProcessingError):
        text = f"the media is not whole ({reason}); {_LATER}"
    elif isinstance(error, network.HTTPError):
        return None
    elif not isinstance(error, network.RequestError):
        return _by_errno(error, name, reason) if isinstance(error, OSError) else None
    return kind(one_line(f"{name}: {text}"))


def _by_errno(error: OSError, name: str, reason: str) -> MienError:
    if isinstance(error, ConnectionError | TimeoutError):
        return IncompleteTransferError(one_line(f"{name}: the connection failed ({reason}); {_LATER}"))
    return translate(error, f"{name}: storing the media")


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
        stored = getattr(link, "exc_info", None)
        origins = [
            stored[1] if isinstance(stored, tuple) and len(stored) == 3 else None,
            getattr(link, "cause", None),
            link.__cause__,
            link.__context__,
        ]
        waiting += [origin for origin in origins if isinstance(origin, BaseException)]


def _reason(text: str) -> str:
    """The reason in the platform's own words, without what yt-dlp wraps around it."""
    return one_line(_ADVICE.sub("", _PREFIX.sub("", text.strip())), 300)


def _named(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}"
