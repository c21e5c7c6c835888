"""Properties of the whole reader over random batch sizes, worlds, tails, filters and resume positions."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.models.reader.order.steps import Tail
from mien.models.reader.shard_reader import ShardReader
from tests.hypothesis_examples import examples
from tests.models.corpora import Numbers, check_content, numbers_of, write_corpus

SIZES = [7, 1, 16, 0, 9]
TOTAL = sum(SIZES)
FILTERS = [None, "rows != 5", "language in ('en', 'de')", "face_size_pixels is not None"]


def passes(number: int, where: str | None) -> bool:
    return {
        None: True,
        "rows != 5": number != 5,
        "language in ('en', 'de')": number % 3 != 2,
        "face_size_pixels is not None": number % 7 != 0,
    }[where]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), SIZES)


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(7, 40),
    st.sampled_from(["drop", "pad", "carry"]),
    st.sampled_from(FILTERS),
    st.sampled_from([0, 3, 4096]),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.integers(0, 12),
)
def test_any_world_and_resume_reads_every_sample_once(
    folder: Path,
    batch: int,
    tail: Tail,
    where: str | None,
    window: int,
    worlds: tuple[int, int],
    cut: int,
) -> None:
    cache = folder.parent / "cache"
    reader = ShardReader(
        folder, collate=Numbers(), cache_dir=cache, seed=7, where=where, shuffle_window=window
    )
    passing = [n for n in range(TOTAL) if passes(n, where)]
    if tail == "drop":
        batch = min(batch, len(passing))

    def walk(world: int, state: dict[str, Any] | None, count: int) -> tuple[list[list[int]], dict[str, Any]]:
        """The next `count` global batches, with -1 for rows that are not valid, and the state after them."""
        loaders = [reader.loader(global_batch=batch, tail=tail, rank=n, world=world) for n in range(world)]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
        batches = []
        for _ in range(count):
            parts = [next(iter(loader)) for loader in loaders]
            for part in parts:
                check_content(part)
            batches.append(
                [
                    int(number) if valid else -1
                    for part in parts
                    for number, valid in zip(part["number"], part["valid"], strict=True)
                ]
            )
        states = [loader.state_dict() for loader in loaders]
        assert all(state == states[0] for state in states)
        for loader in loaders:
            loader.close()
        return batches, states[0]

    uninterrupted, _ = walk(1, None, cut + 6)
    before, state = walk(worlds[0], None, cut)
    after, _ = walk(worlds[1], state, 6)
    assert before + after == uninterrupted

    with reader.loader(global_batch=batch, tail=tail) as loader:
        epochs = [[numbers_of(one) for one in loader] for _ in range(2)]
    for epoch in epochs:
        assert len(epoch) == len(loader) or tail == "carry"
        seen = list(chain(*epoch))
        if tail == "pad":
            assert sorted(seen) == passing
        elif tail == "drop":
            assert len(set(seen)) == len(seen) == len(passing) // batch * batch
    if tail == "carry":
        stream = list(chain(*chain(*epochs)))
        assert sorted(stream[: len(passing)]) == passing
        assert len(set(stream[len(passing) : 2 * len(passing)])) == len(
            stream[len(passing) : 2 * len(passing)]
        )
