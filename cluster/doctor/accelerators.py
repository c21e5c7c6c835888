"""Whether CUDA is really usable, shown by using it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.ingest.errors import one_line

CLASH_CURE = "pip install --force-reinstall --no-deps onnxruntime-gpu"
CPU_CURE = 'install a CUDA that this onnxruntime-gpu names, or set faces.device = "cpu"'

# A model of one Identity node (opset 13), so that a session can be made without any weights.
_TINY_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def onnxruntime(settings: Settings) -> Iterator[Check]:
    """Both packages install the module `onnxruntime`: with both, the CPU's files win and CUDA is gone.

    The list of available providers says nothing: only a session's first provider, once made, does.
    """
    name = "onnxruntime"
    installed = installed_distributions() & {"onnxruntime", "onnxruntime-gpu"}
    wanted = settings.faces.device == "cuda"
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
            "onnxruntime and onnxruntime-gpu are both installed, and the CPU's files won: no CUDA",
            CLASH_CURE,
        )
        return
    provider = first_provider() if built_for_cuda else "CPUExecutionProvider"
    version = f"onnxruntime {onnxruntime.__version__}, a session runs on {provider}"
    if provider == "CUDAExecutionProvider" or not (wanted or built_for_cuda):
        yield Check.ok(name, version)
    elif wanted:
        cure = (
            CPU_CURE
            if built_for_cuda
            else f'pip install onnxruntime-gpu, then {CLASH_CURE}; or faces.device = "cpu"'
        )
        yield Check.fail(name, f"{version}, but faces.device is cuda", cure)
    else:
        yield Check.warn(name, f"{version}, though onnxruntime-gpu is installed", CPU_CURE)


def ctranslate2(settings: Settings) -> Iterator[Check]:
    name = "ctranslate2"
    wanted = settings.transcribe.device == "cuda"
    try:
        import ctranslate2
    except ImportError as error:
        yield Check.fail(
            name, f"cannot be imported: {one_line(str(error))}", "pip install --force-reinstall ctranslate2"
        )
        return
    count = ctranslate2.get_cuda_device_count()
    text = f"CTranslate2 {ctranslate2.__version__}, {count} CUDA device{'' if count == 1 else 's'}"
    if wanted and not count:
        yield Check.fail(
            name,
            f"{text}, but transcribe.device is cuda",
            'install the CUDA driver, or set transcribe.device = "cpu"',
        )
    else:
        yield Check.ok(name, text)


def first_provider() -> str:
    """Where a session that asks for CUDA really runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(_TINY_MODEL, options, providers=providers)
    return str(session.get_providers()[0])


def installed_distributions() -> set[str]:
    """Names of all installed packages, normalised as PEP 503 says."""
    found = importlib.metadata.distributions()
    names = (distribution.metadata["Name"] for distribution in found)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names if name}
