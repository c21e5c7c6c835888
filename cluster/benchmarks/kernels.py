"""Runs the bare kernels one after the other in one process, on exactly the inputs of a local pipeline run.

    python -m mien.cluster.benchmarks.kernels FILM [--set KEY=VALUE]…

Networks are loaded before the clock starts. Each kernel is a plain call of its library: a PyAV loop,
insightface's `detect`, one session.run over the whole sound, faster-whisper's batched pipeline with its own
language detection, simplejpeg, soundfile, hashlib. Each uses one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.cluster.benchmarks.instrumented_run import KernelInputs, cpu_seconds, run_instrumented, sounds
from mien.ingest.ffmpeg import find_ffmpeg
from mien.pipelines.data import SOUND_HZ
from mien.pipelines.faces.crop import QUALITY
from mien.pipelines.weights import locate

Kernel = Callable[[], Any]


def decode(film: Path, inputs: KernelInputs) -> Kernel:
    def run() -> int:
        import av

        frames = 0
        with av.open(str(film)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for start, end in inputs.spans:
                container.seek(int(start * 1_000_000))
                for frame in container.decode(stream):
                    if frame.time >= end:
                        break
                    frames += 1
        return frames

    return run


def ffmpeg_null(film: Path) -> Kernel:
    command = [
        find_ffmpeg(),
        "-v",
        "error",
        "-threads",
        "1",
        "-i",
        str(film),
        "-map",
        "0:v:0",
        "-f",
        "null",
        "-",
    ]
    return lambda: subprocess.run(command, check=True)


def detect(inputs: KernelInputs) -> Kernel:
    from insightface.model_zoo.scrfd import SCRFD

    from mien.pipelines.faces.onnx_session import open_session

    path = locate("scrfd_500m")
    model = SCRFD(str(path), session=open_session(path, "cpu", 1), static_shape_sessions=False)
    size = tuple(-(-side // 32) * 32 for side in inputs.pictures[0].shape[1::-1])
    model.detect(inputs.pictures[0], input_size=size, det_thresh=0.3)

    def run() -> None:
        for number in range(inputs.picture_count):
            model.detect(inputs.pictures[number % len(inputs.pictures)], input_size=size, det_thresh=0.3)

    return run


def embed(inputs: KernelInputs) -> Kernel:
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    from mien.pipelines.faces.geometry import ARCFACE
    from mien.pipelines.faces.onnx_session import open_session

    path = locate("arcface_w600k_mbf")
    model = ArcFaceONNX(str(path), session=open_session(path, "cpu", 1))
    images = [_picture(crop) for crop in inputs.crops]
    faces = [np.ascontiguousarray(image[ARCFACE]) for image in images]
    batches = [
        [faces[at % len(faces)] for at in range(7 * n, 7 * n + k)] for n, k in enumerate(inputs.embeddings)
    ]
    model.get_feat(faces[:1])

    def run() -> None:
        for batch in batches:
            model.get_feat(batch)

    return run


def decode_sound(film: Path) -> Kernel:
    def run() -> Any:
        import av

        pieces = []
        with av.open(str(film)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)
            for frame in container.decode(audio=0):
                pieces += [piece.to_ndarray() for piece in resampler.resample(frame)]
        return np.concatenate(pieces, axis=1)[0]

    return run


def voice(sound: Any) -> Kernel:
    from mien.pipelines.speech.vad import VoiceActivity

    vad = VoiceActivity(str(locate("silero_vad_v6")))
    return lambda: vad.feed(sound, last=True)


def whisper(inputs: KernelInputs, *, beam_size: int, language_given: bool) -> Kernel:
    """Transcribes each segment with its language given, or lets the library detect it."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        str(locate("whisper-base")), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )
    pipeline = BatchedInferencePipeline(model)

    def run() -> int:
        words = 0
        for sound, clips, language, unknown in inputs.transcribed:
            found, _ = pipeline.transcribe(
                sound,
                language=None if unknown and not language_given else language,
                beam_size=beam_size,
                word_timestamps=True,
                clip_timestamps=clips,
                batch_size=8,
            )
            words += sum(len(part.words) for part in found)
        return words

    return run


def _picture(crop: bytes) -> npt.NDArray[np.uint8]:
    """Decodes the JPEG of a crop to BGR (128, 128, 3)."""
    picture = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def jpeg(inputs: KernelInputs) -> Kernel:
    import simplejpeg

    planes = []
    for crop in inputs.crops:
        yuv = cv2.cvtColor(_picture(crop), cv2.COLOR_BGR2YUV_I420)
        flat = yuv.reshape(-1)
        planes.append((flat[:16384].reshape(128, 128), *flat[16384:].reshape(2, 64, 64)))

    def run() -> None:
        for number in range(inputs.crop_count):
            simplejpeg.encode_jpeg_yuv_planes(*planes[number % len(planes)], QUALITY)

    return run


def flac(inputs: KernelInputs) -> Kernel:
    import soundfile

    clips = sounds(inputs)

    def run() -> None:
        for clip in clips:
            soundfile.write(io.BytesIO(), clip, SOUND_HZ, format="FLAC", subtype="PCM_16")

    return run


def measure(film: Path, flags: tuple[str, ...]) -> dict[str, Any]:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as store:
        inputs = run_instrumented(Path(store), film, flags)
    sound = decode_sound(film)()
    beam = next((int(flag.split("=")[1]) for flag in flags if flag.startswith("transcribe.beam_size")), 5)
    kernels: dict[str, Kernel] = {
        "decode": decode(film, inputs),
        "scrfd": detect(inputs),
        "vad": voice(sound),
        "whisper": whisper(inputs, beam_size=beam, language_given=False),
        "jpeg": jpeg(inputs),
        "flac": flac(inputs),
        "sound": decode_sound(film),
        "arcface": embed(inputs),
        "sha256": lambda: hashlib.sha256(film.read_bytes()).hexdigest(),
        "whisper, language given": whisper(inputs, beam_size=beam, language_given=True),
        "ffmpeg -f null": ffmpeg_null(film),
    }
    spent = {}
    for name, kernel in kernels.items():
        before = cpu_seconds()
        kernel()
        spent[name] = cpu_seconds() - before
    return {
        "kernels": spent,
        "stages": dict(inputs.stage_seconds),
        "setups": dict(inputs.setup_seconds),
        "local": inputs.total_seconds,
        "counts": {
            "detections": inputs.picture_count,
            "crops": inputs.crop_count,
            "clips": len(inputs.flacs),
            "embeddings": sum(inputs.embeddings),
            "windows": sum(len(clips) for _, clips, _, _ in inputs.transcribed),
            "decoded_seconds": sum(b - a for a, b in inputs.spans),
            "speech_seconds": inputs.speech_seconds,
            "face_seconds": inputs.face_seconds,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="flags")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.film, tuple(arguments.flags))))


if __name__ == "__main__":
    main()
