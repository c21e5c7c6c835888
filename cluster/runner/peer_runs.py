"""The heartbeat of this run, and the detection of runs that have died."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Self

from mien.ingest.catalog import Catalog
from mien.ingest.errors import CatalogError, LeaseLostError


class Heartbeat:
    """Renews the run's lease from a thread, because one item may keep the driver busy for longer.

    A driver that hangs must still lose its videos: the lease expires if `alive` is not called for
    `patience_seconds`. After an outage of the catalog, the lease is renewed before anything else is written.
    """

    def __init__(
        self, catalog: Catalog, run_id: str, *, lease_seconds: float, patience_seconds: float = math.inf
    ) -> None:
        self._catalog, self._run_id = catalog, run_id
        self._every_seconds, self._patience_seconds = lease_seconds / 4, patience_seconds
        self._seen = math.inf
        """When `alive` was last called. Infinite during recovery, which may take any time."""
        self._lost: LeaseLostError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def alive(self) -> None:
        """Reports that the driver makes progress.

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
            # The catalog may be back before the lease expires. If not, the driver's own writes fail.
            return


class PeerRunMonitor:
    """Tells whether videos of other runs may become available, because their run may be dead."""

    def __init__(self, catalog: Catalog, run_id: str) -> None:
        self._catalog, self._run_id = catalog, run_id
        self._leases: dict[str, float] = {}

    def may_be_dead(self) -> bool:
        """Whether a run that holds videos has not renewed its lease since this monitor first saw it.

        A live run renews its lease within a quarter of it. The lease of a dead run expires, and its videos
        can then be claimed.
        """
        leases = {run: until for run, until in self._catalog.holders().items() if run != self._run_id}
        for run, until in leases.items():
            self._leases.setdefault(run, until)
        return any(until <= self._leases[run] for run, until in leases.items())
