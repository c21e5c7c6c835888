"""A loader state consists of five plain values; anything else is rejected with a clear message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mien.ingest.errors import ReaderStateError
from mien.models.reader.loader.loader import LoaderState
from mien.models.reader.order.steps import Cursor

STATE = {"seed": 7, "epoch": 2, "samples_consumed": 512, "manifest_hash": "ab", "order_hash": "cd"}


def test_state_survives_json() -> None:
    state = LoaderState.from_dict(json.loads(json.dumps(STATE)))

    assert state == LoaderState(seed=7, cursor=Cursor(2, 512), manifest_hash="ab", order_hash="cd")
    assert state.to_dict() == STATE


@pytest.mark.parametrize(
    "state",
    [
        {},
        {**STATE, "epoch": "2"},
        {**STATE, "epoch": True},
        {**STATE, "samples_consumed": -1},
        {**STATE, "manifest_hash": None},
        {name: value for name, value in STATE.items() if name != "seed"},
        None,
    ],
)
def test_rejects_invalid_states(state: Any) -> None:
    with pytest.raises(ReaderStateError):
        LoaderState.from_dict(state)
