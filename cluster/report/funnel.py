"""The yield funnel: how many of the raw seconds survive, and what took the others, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mien.pipelines.data import DROP_REASONS, KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    seconds: float
    """That are left after this step."""
    share: float
    """Of all seconds."""
    lost: float
    reason: str
    """Of the loss, as the catalog counts it."""


# What is left once the reason beside it has taken its seconds. The order is the pipeline's.
_AFTER = {
    "failed": "could be processed",
    "no_audio": "has audio",
    "no_video": "has video",
    "no_speech": "has speech",
    "no_face": "has a face",
    "not_speaking": "face speaks",
    "no_words": "has words",
    "too_short": "long enough",
}


def funnel(seconds_by_fate: Mapping[str, float]) -> list[Step]:
    """From "processed" to "kept". The losses and what is kept add up to what was processed."""
    total = sum(seconds_by_fate.values())
    steps = [Step(name="processed", seconds=total, share=1.0 if total else 0.0, lost=0.0, reason="")]
    left = total
    unknown = [reason for reason in seconds_by_fate if reason not in (*DROP_REASONS, KEPT)]
    for reason in (*_AFTER, *unknown):
        lost = seconds_by_fate.get(reason, 0.0)
        if lost > 0:
            left = max(0.0, left - lost)  # nothing is left, and not a hair less
            name = _AFTER.get(reason, f"not {reason}")
            steps.append(
                Step(name=name, seconds=left, share=left / total if total else 0.0, lost=lost, reason=reason)
            )
    kept = seconds_by_fate.get(KEPT, 0.0)
    steps.append(Step(name=KEPT, seconds=kept, share=kept / total if total else 0.0, lost=0.0, reason=""))
    return steps


def funnel_lines(seconds_by_fate: Mapping[str, float], *, width: int = 28) -> list[str]:
    """The funnel as text: a bar, the seconds, and the reason of what was lost at each step."""
    lines = []
    for step in funnel(seconds_by_fate):
        bar = "█" * round(step.share * width)
        lost = f"  − {clock(step.lost)} {step.reason}" if step.lost else ""
        lines.append(f"  {step.name:<19}{bar:<{width}} {clock(step.seconds):>10} {step.share:6.1%}{lost}")
    return lines


def clock(seconds: float) -> str:
    """1:02:03.4 for people."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"
