"""Recovery after a kill at any instant: completes or removes what dead runs left.

There are two cases: a tar without a row in the catalog is deleted, and a row without a sidecar gets its
sidecar. Files of live runs are not touched. Therefore a run is first *ended* in the catalog. From then on it
cannot commit anything, even if its process wakes up. Only then are its files touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mien.cluster.logs import get_logger
from mien.cluster.runner.shard_commit import SHARD_NAME, SIDECAR, run_of, sidecar_name
from mien.ingest.catalog import Catalog, ShardRecord
from mien.ingest.errors import ConfigError, StorageMissingError
from mien.ingest.storage import Store
from mien.pipelines.shards.index import encode_index, scan_tar
from mien.pipelines.shards.spool import driver_is_dead, sweep_spool

_log = get_logger("mien.run")


def recover(catalog: Catalog, store: Store, spool: Path) -> None:
    """Completes or removes what dead runs left.

    A run is dead if its lease has expired, or if its driver died on this machine.
    """
    dead = {run_id for run_id in catalog.end_dead_runs() if driver_is_dead(spool, run_id)}
    catalog.end_dead_runs(dead)
    for run_id in sorted(dead):
        _log.info(f"resuming after run {run_id}, which was killed")

    def has_ended(run_id: str) -> bool:
        # Queried each time, because runs start meanwhile. A run that this catalog does not know belongs to
        # another catalog and may be alive.
        return bool(catalog.known_runs({run_id})) and run_id not in catalog.end_dead_runs()

    sweep_spool(spool, has_ended=has_ended)
    store.sweep(older_than_seconds=0, abandoned=lambda name: has_ended(run_of(name)))
    store.sweep()
    for shard in catalog.shards_without_sidecar():
        if has_ended(shard.run_id):
            _publish_sidecar(catalog, store, shard)
    remove_uncommitted(catalog, store)


def _publish_sidecar(catalog: Catalog, store: Store, shard: ShardRecord) -> None:
    try:
        if not store.exists(sidecar_name(shard.name)):
            with store.open(shard.name) as tar:
                rows = scan_tar(tar)
            index = encode_index(rows, shard=shard.name, sha256=shard.sha256, tar_bytes=shard.bytes)
            store.publish_bytes(index, sidecar_name(shard.name))
    except StorageMissingError as error:
        _log.info(f"{shard.name} is committed but cannot be read: {error}; run `mien verify`")
        return
    catalog.mark_sidecar(shard.name)
    _log.info(f"published the missing index of {shard.name}")


def remove_uncommitted(catalog: Catalog, store: Store, *, of: str | None = None) -> None:
    """Deletes the tars that no run can commit any more. `of`: only those of this run, which has ended.

    Deletes only files of runs that this catalog knows, because another catalog may use the same place.
    """
    # List the files first: a shard that is committed meanwhile is then found in the catalog.
    names = [entry.name for entry in store.list() if of is None or run_of(entry.name) == of]
    for name in uncommitted(catalog, names):
        store.delete(name)
        _log.info(f"deleted {name}, which was not committed")


def uncommitted(catalog: Catalog, names: Iterable[str]) -> list[str]:
    """Those of `names` that runs of this catalog published and that no run can commit any more."""
    found = {name: run_of(name) for name in names if SHARD_NAME.fullmatch(name)}
    if not found:
        return []
    over = catalog.known_runs(set(found.values())) - catalog.end_dead_runs()
    committed = catalog.shard_names()
    left = [name for name, run in found.items() if run in over]
    return [name for name in left if name.removesuffix(SIDECAR) not in committed]


def check_shards_location(catalog: Catalog, store: Store) -> None:
    """Raises ConfigError if the shards of this catalog are stored in another place.

    A store that was moved as a whole is accepted: its shards are found in the new place.
    """
    for shard in catalog.shards()[:1]:
        if not shard.uri.startswith(f"{store.uri}/") and not store.exists(shard.name):
            home = shard.uri.rpartition("/")[0]
            raise ConfigError(
                f"the shards of this catalog are stored in {home}, not in {store.uri}; set store.shards to "
                "that place on every machine that shares the catalog"
            )
