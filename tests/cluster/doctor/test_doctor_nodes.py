"""Two nodes with separate caches: each must be able to read media that the other fetched from a platform."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.cluster.config import Settings
from mien.cluster.doctor import Check, examine
from mien.cluster.doctor.acquisition import check_acquisition
from mien.cluster.doctor.nodes import machines
from mien.ingest.errors import InfeasibleError
from tests.cluster.doctor.doctor_checks import TUBE, closed_port, settings, waiting

ROOT = Path(__file__).resolve().parents[3]


def node(address: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    """A node as `ray.nodes()` describes it."""
    return {"Alive": alive, "NodeManagerAddress": address, "Resources": resources}


def test_counts_nodes_with_own_caches() -> None:
    head, one, two = node("10.0.0.1", memory=1.0), node("10.0.0.2", CPU=4.0), node("10.0.0.3", CPU=0.5)
    assert machines([head, one]) == 1, "no worker is placed on a head without CPUs"
    assert machines([head, one, two]) == 2
    assert machines([one, node("10.0.0.2", CPU=4.0)]) == 1, "two raylets on one machine share its disk"
    assert machines([one, node("10.0.0.3", alive=False, CPU=4.0)]) == 1


def test_nodes_are_checked_only_if_needed() -> None:
    silent = f"127.0.0.1:{closed_port()}"
    of = settings()
    check_acquisition(of, {"youtube"})
    of = replace(of, engine=replace(of.engine, address=silent))
    check_acquisition(of, {"http"})
    check_acquisition(of, {"youtube"}, local=True)
    kept = settings(keep_media="always", media_uri="kept")
    kept = replace(kept, engine=of.engine)
    assert looked(settings()) == Check.ok("nodes", "only this machine is used (engine.address is not set)")
    assert looked(of) == Check.ok("nodes", "skipped: no video of a platform is waiting")
    check_acquisition(kept, {"youtube"})
    with pytest.raises(InfeasibleError, match="no Ray cluster answers"):
        check_acquisition(of, {"youtube"})
    waiting(of, TUBE)
    assert "no Ray cluster answers" in looked(of).message


def looked(of: Settings) -> Check:
    (found,) = [check for check in examine(of) if check.name == "nodes"]
    return found


# Prints the outcome of a run's check and of the doctor: with one node, with two, and with retained media.
DRIVER = """
import json, sys
from dataclasses import replace
from ray.cluster_utils import Cluster
from mien.cluster.doctor import examine
from mien.cluster.runner.run import check_downloads
from mien.cluster.config import fingerprint
from mien.ingest.catalog import Catalog
from mien.ingest.errors import MienError
from tests.cluster.doctor.doctor_checks import TUBE, settings, waiting

room = {"num_cpus": 1, "object_store_memory": 100 << 20}

def on(cluster, **acquire):
    plain = settings(**acquire)
    return replace(plain, engine=replace(plain.engine, address=cluster.address))

def look(of):
    try:
        with Catalog.open(of.store.catalog_url) as catalog:
            check_downloads(of, catalog, fingerprint(of), local=False)
        output = "goes on"
    except MienError as error:
        output = f"{type(error).__name__}: {error}"
    (found,) = [check for check in examine(of) if check.name == "nodes"]
    print(json.dumps([output, found.status, found.message, found.fix]))

cluster = Cluster(initialize_head=True, head_node_args=room)
of = on(cluster)
waiting(of, TUBE)
look(of)
cluster.add_node(**room, node_ip_address="127.0.0.2")
cluster.wait_for_nodes()
look(of)
look(on(cluster, keep_media="always"))
cluster.shutdown()
"""


@pytest.mark.slow
def test_several_nodes_need_shared_media(tmp_path: Path) -> None:
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    lines = [json.loads(line) for line in driver.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 3, driver.stderr[-3000:]
    one, two, kept = lines
    assert one[:2] == ["goes on", "ok"]
    raised, status, message, fix = two
    assert raised == f"ConfigError: nodes: {message}; {fix}"
    assert status == "fail"
    assert "cannot read media that another" in message
    assert "keep_media to always" in fix
    assert kept[:2] == ["goes on", "warn"], "copies in a folder, which the other node need not see"
