"""The index's columns are those that pyarrow makes, without what pyarrow loads for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.shards.index import column

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "double": st.floats(),
    "float": st.floats(width=32),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
}


@pytest.mark.parametrize("kind", VALUES)
@given(st.data())
def test_any_values_and_nulls(kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=20))
    ours, theirs = column(values, kind), pa.array(values, pa.type_for_alias(kind))
    ours.validate(full=True)
    assert ours.type == theirs.type
    assert ours.null_count == theirs.null_count
    assert repr(ours.to_pylist()) == repr(theirs.to_pylist())  # of the text, since NaN equals nothing


def test_rounds_double_to_float_like_pyarrow() -> None:
    values = [1 / 3, 0.1, 1e-30, -2.7182818284590452, 5]
    assert column(values, "float").equals(pa.array(values, pa.float32()))


def test_writing_an_index_does_not_load_pandas() -> None:
    code = (
        "import sys; from mien.pipelines.shards.index import IndexRow, encode_index; "
        "from mien.pipelines.shards.tar import Place; "
        "rows = [IndexRow(key='k', row={'words': 3, 'text': 'a'}, "
        "places={'txt': Place(offset=0, size=1, crc32=2)})]; "
        "assert encode_index(rows, shard='s', sha256='0', tar_bytes=1); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
