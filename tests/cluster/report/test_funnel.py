"""The yield funnel and contact sheets."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from mien.cluster.report.contact_sheet import contact_sheet
from mien.cluster.report.formatting import format_duration
from mien.cluster.report.funnel import funnel, funnel_lines
from mien.pipelines.data import DROP_REASONS, KEPT
from mien.pipelines.samples.film_strip import assemble_strip

FATES = st.dictionaries(st.sampled_from([*DROP_REASONS, KEPT, "a_later_reason"]), st.floats(0.01, 1e6))


@given(FATES)
def test_funnel_adds_up(fates: dict[str, float]) -> None:
    steps = funnel(fates)
    total = sum(fates.values())
    assert steps[0].seconds == pytest.approx(total)
    assert sum(step.lost for step in steps) + fates.get(KEPT, 0.0) == pytest.approx(total)
    assert all(step.seconds >= 0.0 for step in steps)
    assert all(a.seconds >= b.seconds - 1e-6 for a, b in pairwise(steps))
    assert {step.reason for step in steps if step.lost} == set(fates) - {KEPT}
    assert len(funnel_lines(fates)) == len(steps)


def test_funnel_never_goes_below_zero() -> None:
    lines = funnel_lines({"no_audio": 28.8, "no_speech": 8.12, "no_face": 0.3})
    assert lines[-2].split()[3:5] == ["0:00.0", "0.0%"]


def test_empty_funnel_is_valid() -> None:
    assert [step.share for step in funnel({})] == [0.0, 0.0]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00.0"), (61.25, "1:01.2"), (3723.4, "1:02:03.4")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("count", [1, 24, 25, 26, 60])
def test_contact_sheet_has_one_line_per_second(count: int) -> None:
    greys = [np.full((128, 128, 3), 40 + 3 * n, np.uint8) for n in range(count)]
    strip = assemble_strip([simplejpeg.encode_jpeg(g, quality=92, colorsubsampling="420") for g in greys])
    sheet = cv2.imdecode(np.frombuffer(contact_sheet(strip), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    assert sheet.shape == (-(-count // 25) * 128, min(count, 25) * 128, 3)
    for number, grey in enumerate(greys):
        line, column = divmod(number, 25)
        tile = sheet[line * 128 + 20 : line * 128 + 108, column * 128 + 20 : column * 128 + 108]
        assert abs(float(tile.mean()) - float(grey.mean())) < 4


def test_contact_sheet_refuses_non_images() -> None:
    with pytest.raises(ValueError, match="not an image"):
        contact_sheet(b"not a jpeg")
