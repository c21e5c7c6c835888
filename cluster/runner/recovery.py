"""What a kill at any instant left behind, made whole or removed.

A tar without a row is rubbish, a row without a sidecar lacks only the sidecar, and there is no third case.
What belongs to a run that goes on is left alone: so a run is first *ended* in the catalog, after which it can
commit nothing any more even if its process should wake up, and only then are its files touched.
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
    """Finishes or removes what dead runs left: their lease is over, or their driver died on this machine."""
    dead = {run_id for run_id in catalog.end_dead_runs() if driver_is_dead(spool, run_id)}
    catalog.end_dead_runs(dead)
    for run_id in sorted(dead):
        _log.info(f"run {run_id} was killed: going on where it ended")

    def over(run_id: str) -> bool:
        # Asked anew each time: what was seen belongs to a run that had begun by then. One that this catalog
        # does not know is another's, and may live.
        return bool(catalog.known_runs({run_id})) and run_id not in catalog.end_dead_runs()

    sweep_spool(spool, over=over)
    store.sweep(older_than_seconds=0, abandoned=lambda name: over(run_of(name)))
    store.sweep()
    for shard in catalog.shards_without_sidecar():
        if over(shard.run_id):
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
        _log.info(f"{shard.name} is committed, and cannot be read: {error}; see `mien verify`")
        return
    catalog.mark_sidecar(shard.name)
    _log.info(f"published the index of {shard.name}, which a killed run had not")


def remove_uncommitted(catalog: Catalog, store: Store, *, of: str | None = None) -> None:
    """Deletes the tars that no run can commit any more; `of`: those of this run alone, which has ended.

    Only files of runs that this catalog knows: another catalog may publish into the same place, and what
    else lies there is nobody's to delete.
    """
    # In this order: a file of a run that commits and ends meanwhile is then found in the catalog.
    names = [entry.name for entry in store.list() if of is None or run_of(entry.name) == of]
    for name in uncommitted(catalog, names):
        store.delete(name)
        _log.info(f"deleted {name}, which was never committed")


def uncommitted(catalog: Catalog, names: Iterable[str]) -> list[str]:
    """Those of `names` that a run of this catalog published, and none can commit any more."""
    found = {name: run_of(name) for name in names if SHARD_NAME.fullmatch(name)}
    if not found:
        return []
    over = catalog.known_runs(set(found.values())) - catalog.end_dead_runs()
    committed = catalog.shard_names()
    left = [name for name, run in found.items() if run in over]
    return [name for name in left if name.removesuffix(SIDECAR) not in committed]


def refuse_other_home(catalog: Catalog, store: Store) -> None:
    """Raises ConfigError where this catalog's shards lie elsewhere: its samples would be torn apart.

    A store that was moved as a whole is at home where its shards are now.
    """
    for shard in catalog.shards()[:1]:
        if not shard.uri.startswith(f"{store.uri}/") and not store.exists(shard.name):
            home = shard.uri.rpartition("/")[0]
            raise ConfigError(
                f"this catalog's shards lie in {home}, not in {store.uri}; set store.shards to where they "
                "are, on every machine that shares the catalog"
            )
