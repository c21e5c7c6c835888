"""Which database errors are temporary, and how long a transaction is retried."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy.exc import DBAPIError, OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

# PostgreSQL reports deadlocks and serialisation failures; a retry resolves both.
_RETRYABLE = frozenset({"40001", "40P01"})
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 2.0


class TransactionPhase(IntEnum):
    """How far a transaction got."""

    CONNECTING = 0
    WORKING = 1
    COMMITTING = 2


class TransactionRetry:
    """One transaction and its retries.

    An unreachable server (a restart, a failover) is retried for `patience_seconds`. If the connection is lost
    during the commit, the transaction may be committed (`in_doubt`); it is then retried only if `repeatable`.
    """

    def __init__(self, *, patience_seconds: float, repeatable: bool, is_server: bool) -> None:
        self.phase = TransactionPhase.CONNECTING
        self.was_away = self.in_doubt = False
        self._patience_seconds, self._repeatable, self._is_server = patience_seconds, repeatable, is_server

    def retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=self._is_enough,
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT_SECONDS),
            reraise=True,
        )

    def _may_pass(self, error: BaseException) -> bool:
        if not isinstance(error, DBAPIError):
            return False
        if getattr(error.orig, "sqlstate", None) in _RETRYABLE:
            return True
        if self._is_away(error):
            self.was_away = True
            self.in_doubt = self.in_doubt or self.phase is TransactionPhase.COMMITTING
            return self._repeatable or self.phase is not TransactionPhase.COMMITTING
        return False

    def _is_away(self, error: DBAPIError) -> bool:
        """A refused connection has no error code. A server that is starting up counts as unreachable."""
        cannot_connect = self.phase is TransactionPhase.CONNECTING and isinstance(error, OperationalError)
        return self._is_server and (error.connection_invalidated or cannot_connect)

    def _is_enough(self, state: RetryCallState) -> bool:
        if self.was_away:
            return (state.seconds_since_start or 0.0) >= self._patience_seconds
        return state.attempt_number >= _ATTEMPTS
