"""Which of a database's refusals pass, and for how long a transaction is tried again."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy.exc import DBAPIError, OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

# Deadlock and serialisation failure are PostgreSQL's way of saying "again".
_AGAIN = frozenset({"40001", "40P01"})
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 2.0


class TransactionPhase(IntEnum):
    """How far a transaction came."""

    CONNECTING = 0
    WORKING = 1
    COMMITTING = 2


class TransactionRetry:
    """One transaction and its repetitions.

    A server that went away (a restart, a failover) is waited for, for `patience_seconds`. A connection that
    is lost while committing may have committed (`in_doubt`): only what is `repeatable` is then done again.
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
        if getattr(error.orig, "sqlstate", None) in _AGAIN:
            return True
        if self._is_away(error):
            self.was_away = True
            self.in_doubt = self.in_doubt or self.phase is TransactionPhase.COMMITTING
            return self._repeatable or self.phase is not TransactionPhase.COMMITTING
        return False

    def _is_away(self, error: DBAPIError) -> bool:
        """What refuses a connection has no code: while it starts up, it is as away as one that is down."""
        cannot_connect = self.phase is TransactionPhase.CONNECTING and isinstance(error, OperationalError)
        return self._is_server and (error.connection_invalidated or cannot_connect)

    def _is_enough(self, state: RetryCallState) -> bool:
        if self.was_away:
            return (state.seconds_since_start or 0.0) >= self._patience_seconds
        return state.attempt_number >= _ATTEMPTS
