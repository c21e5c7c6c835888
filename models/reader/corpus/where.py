"""A filter over the index's columns, in Python syntax and with SQL's treatment of nulls.

    face_size_pixels > 96 and language == 'en'
    0.5 <= speech_ratio < 0.9 and language in ('en', 'de') and not 'music' in text
    speaking_score is None or speaking_score > 0

The filter is parsed by `ast` and evaluated by Arrow's kernels, column by column. No part of it is executed as
Python. A comparison with null is unknown, and a sample whose result is unknown does not pass (three-valued
logic, SQL:1992 8.12).
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Collection
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import FilterError, one_line
from mien.models.reader.corpus.index import BATCH_ROWS, Index

_ALLOWED = (
    "write comparisons of columns with constants, joined by and, or, not: "
    "== != < <= > >=, in (…), 'word' in text, is None"
)
_COMPARISONS = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
_LIMIT = 10_000
"""Maximum length in characters."""

Node = Callable[[Callable[[str], Any]], Any]
"""Maps the columns to an Arrow array: of booleans, or of a column's values."""


class Where:
    """Raises FilterError if the expression is invalid or names an unknown column."""

    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.text = text
        self._columns = columns
        try:
            if len(text) > _LIMIT:
                raise ValueError(f"{len(text)} characters")
            tree = ast.parse(text.strip(), mode="eval").body
            self._node = self._condition(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise FilterError(f"where={_shown(text)}: invalid filter ({error}); {_ALLOWED}") from error

    def select(self, index: Index) -> npt.NDArray[np.int64]:
        """The numbers of the samples that pass, ascending. Raises FilterError."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = []
        for number, batch in enumerate(index.batches):
            try:
                mask = self._node(lambda name, batch=batch: batch.column(name))  # type: ignore[misc]
                if not pa.types.is_boolean(mask.type):
                    raise FilterError(
                        f"where={_shown(self.text)}: the result is {mask.type}, not boolean; {_ALLOWED}"
                    )
                mask = pc.fill_null(mask, False)
            except (pa.ArrowException, OverflowError, TypeError) as error:
                kinds = ", ".join(
                    f"{name} is {batch.schema.field(name).type}"
                    for name in self._columns
                    if name in self.text
                )
                raise FilterError(
                    f"where={_shown(self.text)}: {one_line(str(error), 200)} ({kinds}); "
                    "compare a column with values of its type"
                ) from error
            passing = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
            found.append(passing.astype(np.int64) + number * BATCH_ROWS)
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _condition(self, node: ast.expr) -> Node:
        import pyarrow.compute as pc

        if isinstance(node, ast.BoolOp):
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            parts = [self._condition(part) for part in node.values]
            return lambda columns: reduce(join, [part(columns) for part in parts])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self._condition(node.operand)
            return lambda columns: pc.invert(inner(columns))
        if isinstance(node, ast.Compare):
            values = [node.left, *node.comparators]
            parts = [
                self._comparison(left, how, right)
                for left, how, right in zip(values, node.ops, values[1:], strict=False)
            ]
            return lambda columns: reduce(pc.and_kleene, [part(columns) for part in parts])
        if isinstance(node, ast.Name):
            return self._value(node)  # a column of booleans
        raise self._refused(node)

    def _comparison(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> Node:
        import pyarrow.compute as pc

        if isinstance(how, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._refused(right)
            test = pc.is_null if isinstance(how, ast.Is) else pc.is_valid
            value = self._value(left)
            return lambda columns: test(value(columns))
        if isinstance(how, ast.In | ast.NotIn):
            contained = self._containment(left, right)
            return contained if isinstance(how, ast.In) else lambda columns: pc.invert(contained(columns))
        for side in (left, right):
            if isinstance(side, ast.Constant) and side.value is None:
                raise ValueError("a comparison with None is never true: write `is None` or `is not None`")
        if not any(isinstance(part, ast.Name) for part in (left, right)):
            raise self._refused(left)
        compare = getattr(pc, _COMPARISONS[type(how)])
        one, other = self._operand(left), self._operand(right)
        return lambda columns: compare(one(columns), other(columns))

    def _containment(self, left: ast.expr, right: ast.expr) -> Node:
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(right, ast.Name):
            word, column = self._constant(left), self._value(right)
            if not isinstance(word, str):
                raise self._refused(left)
            return lambda columns: pc.match_substring(column(columns), word)
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise self._refused(right)
        value, constants = self._value(left), [self._constant(item) for item in right.elts]

        def contained(columns: Callable[[str], Any]) -> Any:
            found = value(columns)
            # Cast to the column's type if possible, so that 1 matches 1.0.
            among = pa.array(constants)
            if pa.types.is_string(among.type) or pa.types.is_null(among.type):
                among = among.cast(found.type)
            elif not among.type.equals(found.type):
                found, among = found.cast(pa.float64()), among.cast(pa.float64())
            return pc.if_else(pc.is_valid(found), pc.is_in(found, value_set=among), None)

        return contained

    def _operand(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Name):
            return self._value(node)
        constant = self._constant(node)
        return lambda columns: constant

    def _value(self, node: ast.expr) -> Node:
        if not isinstance(node, ast.Name):
            raise self._refused(node)
        name = node.id
        if name not in self._columns:
            similar = difflib.get_close_matches(name, self._columns, 1, 0.5)
            hint = (
                f"did you mean {similar[0]}?" if similar else f"columns: {', '.join(sorted(self._columns))}"
            )
            raise FilterError(f"where={_shown(self.text)}: the index has no column {name}; {hint}")
        return lambda columns: columns(name)

    def _constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self._constant(node.operand)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return operator.neg(value) if isinstance(node.op, ast.USub) else value
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool):
            return node.value
        raise self._refused(node)

    def _refused(self, node: ast.expr) -> FilterError:
        return FilterError(
            f"where={_shown(self.text)}: {ast.unparse(node)[:80]!r} is not allowed here; {_ALLOWED}"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:199]}…")
