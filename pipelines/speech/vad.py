"""Silero VAD v6 on a stream: speech probabilities of sound of any length, in bounded memory.

The network is part of the faster-whisper wheel. Its input is a window of 512 samples (32 ms at 16 kHz), the
last 64 samples of the previous window, and a recurrent state (h, c). The state is carried from block to
block, so the result does not depend on the block size. Source: https://github.com/snakers4/silero-vad
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.pipelines.data import SOUND_HZ, Float32, Int16, Span

WINDOW_SAMPLES = 512
CONTEXT_SAMPLES = 64
WINDOW_SECONDS = WINDOW_SAMPLES / SOUND_HZ


class VoiceActivity:
    """Computes the probability of speech for each window of a stream."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # The network is too small for several threads, and the worker pool already runs in parallel.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.provider: str = self._session.get_providers()[0]
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._state = (np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32))
        self._context = np.zeros(CONTEXT_SAMPLES, np.float32)
        self._rest = np.zeros(0, np.int16)

    def feed(self, sound: Int16, *, last: bool = False) -> Float32:
        """Probabilities (W,) of the windows that `sound` (N,) completes. `last` pads the final window."""
        joined = np.concatenate([self._rest, sound])
        if last and joined.size % WINDOW_SAMPLES:
            joined = np.pad(joined, (0, -joined.size % WINDOW_SAMPLES))
        count = joined.size // WINDOW_SAMPLES
        self._rest = joined[count * WINDOW_SAMPLES :]
        if count == 0:
            return np.zeros(0, np.float32)
        windows = (joined[: count * WINDOW_SAMPLES].astype(np.float32) / 32768.0).reshape(count, -1)
        tails = windows[:, -CONTEXT_SAMPLES:]
        context = np.concatenate([self._context[None], tails[:-1]])
        self._context = tails[-1].copy()
        hidden, cell = self._state
        feed = {"input": np.concatenate([context, windows], axis=1), "h": hidden, "c": cell}
        probabilities, hidden, cell = self._session.run(None, feed)
        self._state = (hidden, cell)
        return np.asarray(probabilities, np.float32).reshape(-1)


def speech_spans(
    probabilities: Float32,
    *,
    start: float,
    end: float,
    threshold: float,
    min_speech_seconds: float,
    min_silence_seconds: float,
    pad_seconds: float,
) -> tuple[Span, ...]:
    """Spans of speech inside [start, end). Window 0 of `probabilities` (W,) starts at `start`.

    Uses Silero's hysteresis: speech starts at `threshold` and ends when the probability stays below
    `threshold - 0.15` for `min_silence_seconds`. Spans shorter than `min_speech_seconds` are dropped. The
    others are padded by `pad_seconds` on each side, at most half the gap, so that they never overlap.
    """
    raw: list[list[float]] = []
    silent_since: float | None = None
    speaking = False
    for number, probability in enumerate(probabilities.tolist()):
        now = start + number * WINDOW_SECONDS
        if probability >= threshold:
            silent_since = None
            if not speaking:
                speaking = True
                raw.append([now, end])
        elif speaking and probability < threshold - 0.15:
            silent_since = now if silent_since is None else silent_since
            if now + WINDOW_SECONDS - silent_since >= min_silence_seconds:
                raw[-1][1] = silent_since
                speaking, silent_since = False, None
    if speaking and silent_since is not None:
        raw[-1][1] = silent_since
    spans = [(a, min(b, end)) for a, b in raw if min(b, end) - a >= min_speech_seconds]
    padded = []
    for number, (a, b) in enumerate(spans):
        before = a - spans[number - 1][1] if number else 2 * (a - start)
        after = spans[number + 1][0] - b if number + 1 < len(spans) else 2 * (end - b)
        padded.append((a - min(pad_seconds, before / 2), b + min(pad_seconds, after / 2)))
    return tuple(padded)
