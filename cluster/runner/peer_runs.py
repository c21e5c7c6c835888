"""How others know that a run lives, and how it comes to know that they took it to be dead."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Self

from mien.ingest.catalog import Catalog
from mien.ingest.errors import CatalogError, LeaseLostError


class Heartbeat:
    """Renews the run's lease from a thread: one item may keep the driver busy for longer than a lease.

    A driver that hangs must lose its videos all the same: where it has not called `alive` again for
    `patience_seconds`, the lease runs out. And where the catalog was away for longer than a lease, that is
    renewed before anything else is written.
    """

    def __init__(
        self, catalog: Catalog, run_id: str, *, lease_seconds: float, patience_seconds: float = math.inf
    ) -> None:
        self._catalog, self._run_id = catalog, run_id
        self._every_seconds, self._patience_seconds = lease_seconds / 4, patience_seconds
        self._seen = math.inf
        """When `alive` was last called; recovery, before that, takes as long as it takes."""
        self._lost: LeaseLostError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def alive(self) -> None:
        """Says that the driver makes progress.

        Raises:
            LeaseLostError: another run has taken this one's videos over; nothing more can be committed.
        """
        self._seen = time.monotonic()
        if self._lost is not None:
            raise self._lost

    def __enter__(self) -> Self:
        self._catalog.when_back(self._renew)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._catalog.when_back(None)
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while self._lost is None and not self._over.wait(self._every_seconds):
            if time.monotonic() - self._seen <= self._patience_seconds:
                self._renew()

    def _renew(self) -> None:
        try:
            self._catalog.heartbeat(self._run_id)
        except LeaseLostError as error:
            self._lost = error
        except CatalogError:
            # It may be back before the lease is over; if not, the driver's own writes say so.
            return


class PeerRunMonitor:
    """Tells whether somebody else's videos may fall to this run: while their run may be dead."""

    def __init__(self, catalog: Catalog, run_id: str) -> None:
        self._catalog, self._run_id = catalog, run_id
        self._leases: dict[str, float] = {}

    def may_be_dead(self) -> bool:
        """Whether some run that holds videos has not renewed its lease since it was first seen here. So
        False comes a quarter of a lease later for those that live, and a lease later for the dead, whose
        videos can be claimed by then."""
        leases = {run: until for run, until in self._catalog.holders().items() if run != self._run_id}
        for run, until in leases.items():
            self._leases.setdefault(run, until)
        return any(until <= self._leases[run] for run, until in leases.items())
