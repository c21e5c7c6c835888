"""The ranges that numbers of a configuration may have, for the fields of stages.

A stage that is made by hand is believed; what comes from a person is held against these.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

AtLeastOne = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
