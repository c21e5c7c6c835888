"""Whether CUDA is usable, tested by using it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.ingest.errors import one_line

CLASH_FIX = "pip install --force-reinstall --no-deps onnxruntime-gpu"
CPU_FIX = 'install a CUDA version that this onnxruntime-gpu supports, or set faces.device = "cpu"'

# A model with one Identity node (opset 13), to create a session without any weights.
_TINY_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def onnxruntime(settings: Settings) -> Iterator[Check]:
    """Checks that a session really uses CUDA, if faces.device asks for it.

    onnxruntime and onnxruntime-gpu both install the module `onnxruntime`. If both are installed, the files of
    the CPU build win and CUDA is missing. The list of available providers is not reliable: only the first
    provider of a created session is.
    """
    name = "onnxruntime"
    installed = installed_distributions() & {"onnxruntime", "onnxruntime-gpu"}
    needs_cuda = settings.faces.device == "cuda"
    try:
        import onnxruntime
    except ImportError as error:
        yield Check.fail(
            name, f"cannot be imported: {one_line(str(error))}", "pip install --force-reinstall onnxruntime"
        )
        return
    built_for_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if len(installed) > 1 and not built_for_cuda:
        yield Check.fail(
            name,
            "onnxruntime and onnxruntime-gpu are both installed: the CPU build is used, without CUDA",
            CLASH_FIX,
        )
        return
    provider = first_provider() if built_for_cuda else "CPUExecutionProvider"
    version = f"onnxruntime {onnxruntime.__version__}, a session runs on {provider}"
    if provider == "CUDAExecutionProvider" or not (needs_cuda or built_for_cuda):
        yield Check.ok(name, version)
    elif needs_cuda:
        fix = (
            CPU_FIX
            if built_for_cuda
            else f'pip install onnxruntime-gpu, then {CLASH_FIX}; or faces.device = "cpu"'
        )
        yield Check.fail(name, f"{version}, but faces.device is cuda", fix)
    else:
        yield Check.warn(name, f"{version}, although onnxruntime-gpu is installed", CPU_FIX)


def ctranslate2(settings: Settings) -> Iterator[Check]:
    name = "ctranslate2"
    needs_cuda = settings.transcribe.device == "cuda"
    try:
        import ctranslate2
    except ImportError as error:
        yield Check.fail(
            name, f"cannot be imported: {one_line(str(error))}", "pip install --force-reinstall ctranslate2"
        )
        return
    count = ctranslate2.get_cuda_device_count()
    text = f"CTranslate2 {ctranslate2.__version__}, {count} CUDA device{'' if count == 1 else 's'}"
    if needs_cuda and not count:
        yield Check.fail(
            name,
            f"{text}, but transcribe.device is cuda",
            'install the CUDA driver, or set transcribe.device = "cpu"',
        )
    else:
        yield Check.ok(name, text)


def first_provider() -> str:
    """The provider on which a session that requests CUDA runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(_TINY_MODEL, options, providers=providers)
    return str(session.get_providers()[0])


def installed_distributions() -> set[str]:
    """Names of all installed packages, normalised according to PEP 503."""
    found = importlib.metadata.distributions()
    names = (distribution.metadata["Name"] for distribution in found)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names if name}
