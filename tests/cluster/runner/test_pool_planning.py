"""The pools fit whatever machine there is, and ask for no more than it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.cluster.engine.feasibility import check_pools
from mien.cluster.runner.pool_planning import build_pools, build_stages
from mien.ingest.errors import ConfigError
from tests.mien_command import settings_in

SETTINGS = settings_in(Path("/nowhere"))
STAGES = build_stages(SETTINGS)


@given(st.integers(1, 512))
def test_pools_fit_any_cpu_count(cpus: int) -> None:
    pools = build_pools(SETTINGS, STAGES, cpus=cpus)
    assert sum(pool.cpus * pool.workers for pool in pools) <= cpus + 1e-6
    check_pools(pools, [(float(cpus), 0.0)])
    heavy = [pool.workers for pool in pools if pool.name in ("faces", "transcribe")]
    assert all(workers >= min(cpus, 4) for workers in heavy)


def test_only_the_splitter_fans_out_and_only_fetch_reports() -> None:
    pools = {pool.name: pool for pool in build_pools(SETTINGS, STAGES, cpus=2)}
    assert [name for name, pool in pools.items() if pool.fans_out] == ["split"]
    assert [name for name, pool in pools.items() if pool.reports_outputs] == ["fetch"]
    assert [name for name, pool in pools.items() if pool.aggregates] == ["shards"]


def test_a_pool_size_for_a_stage_that_is_not_there_is_refused() -> None:
    settings = settings_in(Path("/nowhere"), "engine.workers.faecs=2")
    with pytest.raises(ConfigError, match="faecs"):
        build_pools(settings, STAGES, cpus=2)


def test_cuda_stages_ask_for_a_gpu_and_no_memory_limit() -> None:
    settings = settings_in(Path("/nowhere"), "faces.device=cuda")
    stages = build_stages(settings)
    pools = {pool.name: pool for pool in build_pools(settings, stages, cpus=8)}
    assert pools["faces"].gpus > 0
    assert pools["transcribe"].gpus == 0
