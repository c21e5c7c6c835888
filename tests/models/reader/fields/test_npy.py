"""`.npy` members are read like numpy reads them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.models.reader.fields.npy import NotNpyError, read_npy
from mien.pipelines.samples.sample import encode_npy

PLAIN = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(endianness="<"),
)


@given(hnp.arrays(PLAIN, hnp.array_shapes(min_dims=0, min_side=0)), st.booleans())
def test_reads_arrays_saved_by_numpy(values: np.ndarray, fortran: bool) -> None:
    out = io.BytesIO()
    np.save(out, np.asfortranarray(values) if fortran else values, allow_pickle=False)
    got = read_npy(memoryview(out.getvalue()))
    expected = np.load(io.BytesIO(out.getvalue()))
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    assert not got.flags.writeable


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_reads_npy_versions(version: tuple[int, int]) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.arange(6.0).reshape(2, 3), version=version)
    np.testing.assert_array_equal(read_npy(out.getvalue()), np.arange(6.0).reshape(2, 3))


def pickled() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], object), allow_pickle=True)
    return out.getvalue()


GOOD = encode_npy(np.arange(4, dtype=np.float32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        pickled(),
        GOOD[:-1],
        GOOD + b"\0",
        GOOD[:40],
        GOOD.replace(b"(4,)", b"[4,]"),
        GOOD.replace(b"(4,), }", b"(-4,),}"),
        GOOD.replace(b"'descr'", b"'other'"),
        encode_npy(np.zeros(3, [("a", "f4"), ("b", "i4")])),
        encode_npy(np.array(["text"])),
        encode_npy(np.array([np.datetime64("2026-01-01")])),
    ],
)
def test_rejects_other_content(data: bytes) -> None:
    with pytest.raises(NotNpyError):
        read_npy(data)
