"""Reads `.npy` members as views: numpy's format 1.0 to 3.0 (NEP 1). Only plain numbers, never pickles."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_MAGIC = b"\x93NUMPY"
_KEYS = {"descr", "fortran_order", "shape"}
_NUMBERS = frozenset("?bhilqBHILQefd")


class NotNpyError(ValueError):
    """Not an array of plain numbers, or truncated."""


def read_npy(data: memoryview | bytes) -> npt.NDArray[Any]:
    """A read-only view of `data` as the saved array. Raises NotNpyError.

    `np.load` takes 60 µs per call, mostly for parsing the same few headers; this caches the parsed headers.
    """
    if bytes(data[:6]) != _MAGIC or len(data) < 12:
        raise NotNpyError(f"not an .npy file: it begins with {bytes(data[:6]).hex() or 'nothing'}")
    wide = 2 if data[6] == 1 else 4
    start = 8 + wide
    end = start + int.from_bytes(data[8:start], "little")
    dtype, shape, order = _parse(bytes(data[start:end]))
    count = int(np.prod(shape))
    if len(data) - end != count * dtype.itemsize:
        raise NotNpyError(
            f"it has {len(data) - end} bytes, but {dtype} {shape} needs {count * dtype.itemsize}"
        )
    return np.frombuffer(data, dtype, count, end).reshape(shape, order=order)


@lru_cache(maxsize=4096)
def _parse(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    try:
        found = ast.literal_eval(header.decode("latin-1"))
        dtype, shape = np.dtype(found["descr"]), found["shape"]
        plain = (
            found.keys() == _KEYS
            and isinstance(found["descr"], str)
            and dtype.char in _NUMBERS
            and isinstance(shape, tuple)
            and all(type(side) is int and side >= 0 for side in shape)
        )
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise NotNpyError(f"its header says {header[:80]!r}") from error
    if not plain:
        raise NotNpyError(f"its header says {header[:80]!r}: not an array of plain numbers")
    return dtype, shape, "F" if found["fortran_order"] else "C"
