from __future__ import annotations

import pytest

from mien.cluster.report.formatting import format_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (24_090, "24.1 kB"),
        (999_499, "999 kB"),
        (999_900, "1.00 MB"),
        (123_456_789, "123 MB"),
        (2_500_000_000, "2.50 GB"),
        (1_200_000_000_000, "1.20 TB"),
        (3_456_000_000_000_000, "3,456.00 TB"),
    ],
)
def test_format_bytes_never_rounds_to_zero(count: int, text: str) -> None:
    assert format_bytes(count) == text
