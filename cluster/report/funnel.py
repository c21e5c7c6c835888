"""The yield funnel: how many of the raw seconds remain after each step, and why the others were lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mien.cluster.report.formatting import format_duration
from mien.pipelines.data import DROP_REASONS, KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    name: str
    seconds: float
    """Remaining after this step."""
    share: float
    """Of all seconds."""
    lost: float
    """Seconds that this step removed."""
    reason: str
    """Why they were removed, as the catalog names it."""


# For each reason of a loss, the name of what remains after it. In the order of the pipeline.
_REMAINDERS = {
    "failed": "could be processed",
    "no_audio": "has audio",
    "no_video": "has video",
    "no_speech": "has speech",
    "no_face": "has a face",
    "not_speaking": "face speaks",
    "no_words": "has words",
    "too_short": "long enough",
}


def funnel(seconds_by_fate: Mapping[str, float]) -> list[FunnelStep]:
    """From "processed" to "kept". The losses and the kept seconds add up to the processed seconds."""
    total = sum(seconds_by_fate.values())
    steps = [FunnelStep(name="processed", seconds=total, share=1.0 if total else 0.0, lost=0.0, reason="")]
    left = total
    unknown = [reason for reason in seconds_by_fate if reason not in (*DROP_REASONS, KEPT)]
    for reason in (*_REMAINDERS, *unknown):
        lost = seconds_by_fate.get(reason, 0.0)
        if lost > 0:
            left = max(0.0, left - lost)  # rounding must not make it negative
            name = _REMAINDERS.get(reason, f"not {reason}")
            share = left / total if total else 0.0
            steps.append(FunnelStep(name=name, seconds=left, share=share, lost=lost, reason=reason))
    kept = seconds_by_fate.get(KEPT, 0.0)
    share = kept / total if total else 0.0
    steps.append(FunnelStep(name=KEPT, seconds=kept, share=share, lost=0.0, reason=""))
    return steps


def funnel_lines(seconds_by_fate: Mapping[str, float], *, width: int = 28) -> list[str]:
    """The funnel as text: a bar, the seconds, and the reason for the loss at each step."""
    lines = []
    for step in funnel(seconds_by_fate):
        bar = "█" * round(step.share * width)
        lost = f"  − {format_duration(step.lost)} {step.reason}" if step.lost else ""
        duration = format_duration(step.seconds)
        lines.append(f"  {step.name:<19}{bar:<{width}} {duration:>10} {step.share:6.1%}{lost}")
    return lines
