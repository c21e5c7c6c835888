"""The kernels alone, one after the other in one process, on exactly what a local run fed them.

    python -m tests.bench.kernels FILM [--set KEY=VALUE]…

Networks are loaded before the clock starts. Each kernel is what its library offers, used plainly: a bare
PyAV loop, insightface's own `detect`, one session.run over the whole sound, faster-whisper's own batched
pipeline with its own detection of the language, simplejpeg, soundfile, hashlib. One thread each.
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

from mien.ingest.ffmpeg import find_ffmpeg
from mien.pipelines.data import SOUND_HZ
from mien.pipelines.faces.crop import QUALITY
from mien.pipelines.weights import locate
from tests.bench.stages import Fed, cpu_seconds, run_clocked, sounds

Kernel = Callable[[], Any]


def decode(film: Path, fed: Fed) -> Kernel:
    def run() -> int:
        import av

        frames = 0
        with av.open(str(film)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for start, end in fed.spans:
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


def detect(fed: Fed) -> Kernel:
    from insightface.model_zoo.scrfd import SCRFD

    from mien.pipelines.faces.sessions import open_session

    path = locate("scrfd_500m")
    model = SCRFD(str(path), session=open_session(path, "cpu", 1), static_shape_sessions=False)
    size = tuple(-(-side // 32) * 32 for side in fed.pictures[0].shape[1::-1])
    model.detect(fed.pictures[0], input_size=size, det_thresh=0.3)

    def run() -> None:
        for number in range(fed.picture_count):
            model.detect(fed.pictures[number % len(fed.pictures)], input_size=size, det_thresh=0.3)

    return run


def embed(fed: Fed) -> Kernel:
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    from mien.pipelines.faces.geometry import ARCFACE
    from mien.pipelines.faces.sessions import open_session

    path = locate("arcface_w600k_mbf")
    model = ArcFaceONNX(str(path), session=open_session(path, "cpu", 1))
    images = [_picture(crop) for crop in fed.crops]
    faces = [np.ascontiguousarray(image[ARCFACE]) for image in images]
    batches = [
        [faces[at % len(faces)] for at in range(7 * n, 7 * n + k)] for n, k in enumerate(fed.embeddings)
    ]
    model.get_feat(faces[:1])

    def run() -> None:
        for batch in batches:
            model.get_feat(batch)

    return run


def hear_sound(film: Path) -> Kernel:
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


def whisper(fed: Fed, *, beam_size: int, told: bool) -> Kernel:
    """`told` the language of each segment, or finding it out as the library does."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        str(locate("whisper-base")), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )
    pipeline = BatchedInferencePipeline(model)

    def run() -> int:
        words = 0
        for sound, clips, language, unknown in fed.heard:
            found, _ = pipeline.transcribe(
                sound,
                language=None if unknown and not told else language,
                beam_size=beam_size,
                word_timestamps=True,
                clip_timestamps=clips,
                batch_size=8,
            )
            words += sum(len(part.words) for part in found)
        return words

    return run


def _picture(crop: bytes) -> npt.NDArray[np.uint8]:
    """BGR (128, 128, 3) of a crop's JPEG."""
    picture = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def jpeg(fed: Fed) -> Kernel:
    import simplejpeg

    planes = []
    for crop in fed.crops:
        yuv = cv2.cvtColor(_picture(crop), cv2.COLOR_BGR2YUV_I420)
        flat = yuv.reshape(-1)
        planes.append((flat[:16384].reshape(128, 128), *flat[16384:].reshape(2, 64, 64)))

    def run() -> None:
        for number in range(fed.crop_count):
            simplejpeg.encode_jpeg_yuv_planes(*planes[number % len(planes)], QUALITY)

    return run


def flac(fed: Fed) -> Kernel:
    import soundfile

    clips = sounds(fed)

    def run() -> None:
        for clip in clips:
            soundfile.write(io.BytesIO(), clip, SOUND_HZ, format="FLAC", subtype="PCM_16")

    return run


def measure(film: Path, flags: tuple[str, ...]) -> dict[str, Any]:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as store:
        fed = run_clocked(Path(store), film, flags)
    sound = hear_sound(film)()
    beam = next((int(flag.split("=")[1]) for flag in flags if flag.startswith("transcribe.beam_size")), 5)
    kernels: dict[str, Kernel] = {
        "decode": decode(film, fed),
        "scrfd": detect(fed),
        "vad": voice(sound),
        "whisper": whisper(fed, beam_size=beam, told=False),
        "jpeg": jpeg(fed),
        "flac": flac(fed),
        "sound": hear_sound(film),
        "arcface": embed(fed),
        "sha256": lambda: hashlib.sha256(film.read_bytes()).hexdigest(),
        "whisper told": whisper(fed, beam_size=beam, told=True),
        "ffmpeg -f null": ffmpeg_null(film),
    }
    taken = {}
    for name, kernel in kernels.items():
        before = cpu_seconds()
        kernel()
        taken[name] = cpu_seconds() - before
    return {
        "kernels": taken,
        "stages": dict(fed.stage_seconds),
        "setups": dict(fed.setup_seconds),
        "local": fed.total_seconds,
        "counts": {
            "detections": fed.picture_count,
            "crops": fed.crop_count,
            "clips": len(fed.flacs),
            "embeddings": sum(fed.embeddings),
            "windows": sum(len(clips) for _, clips, _, _ in fed.heard),
            "decoded_seconds": sum(b - a for a, b in fed.spans),
            "speech_seconds": fed.speech_seconds,
            "face_seconds": fed.face_seconds,
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
