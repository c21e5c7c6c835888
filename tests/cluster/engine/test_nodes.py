"""Runs on a Ray cluster of two nodes: a node that fails, and the placement of backup workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
ROOT = Path(__file__).resolve().parents[3]

DRIVER = """
from ray.cluster_utils import Cluster
from mien.cluster.engine import Engine, PoolSpec, RayBackend
from mien.pipelines.stage import DeadlineRule
from tests.cluster.engine.stages import Obey, Recorder, parcels

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
node = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
cluster.wait_for_nodes()

count = 60
observer = Recorder(parcels(count, body=1_000_000, b=dict.fromkeys(range(count), "sleep 0.05")))
rule = DeadlineRule(base=30.0)
pools = [PoolSpec(stage=Obey(name), workers=1, cpus=0.9, deadline=rule) for name in "abc"]
lost = False

def remove_node(item):
    global lost, node
    if len(observer.finished_items) == 15 and not lost:
        lost = True
        cluster.remove_node(node, allow_graceful=False)
        node = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)

observer.on_finished = remove_node
Engine(pools, observer, backend=RayBackend(address=cluster.address)).run()
ended = observer.keys + observer.lost_keys
print("ended", len(ended), len(set(ended)), "lost", len(observer.lost_keys), "failed", observer.error_classes)
cluster.shutdown()
"""

BACKUP_DRIVER = """
import ray
from ray.cluster_utils import Cluster
from mien.cluster.engine import RayBackend
from mien.cluster.engine.messages import Run, Setup, decode_reply, encode
from mien.pipelines.stage import StageContext
from tests.cluster.engine.stages import NodeId, Parcel, pool

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20})
cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
cluster.wait_for_nodes()
backend = RayBackend(address=cluster.address)
backend.open()
spec = pool(NodeId("a"))
stage = backend.pack(spec.stage, StageContext())
handles = [backend.start(spec, stage, cpus=cpus, threads=1, last=True) for cpus in (2, 0, 0, 0, 0)]
used = set()
for handle in handles:
    handle.submit(encode(Setup(None)))
    reply = decode_reply(handle.submit(encode(Run()), Parcel(key="p"))[1].result())
    used.add(reply.outputs[0].key)
print([node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] in used])
backend.close()
cluster.shutdown()
"""


def test_backup_workers_avoid_nodes_without_cpus() -> None:
    driver = subprocess.run(
        [sys.executable, "-c", BACKUP_DRIVER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert driver.stdout.endswith("[2.0]\n"), driver.stderr[-3000:]


def test_failed_node_loses_no_item_silently() -> None:
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT,
        env=os.environ | {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    last = driver.stdout.splitlines()[-1] if driver.stdout else driver.stderr[-2000:]
    assert last.startswith("ended 60 60 lost "), driver.stderr[-3000:]
    assert last.endswith("failed {}")
