"""ONNX sessions on a device that is verified after they are created."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mien.ingest.errors import ProviderError
from mien.pipelines.data import ModelUse

Device = Literal["cpu", "cuda"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(path: Path, device: Device, threads: int) -> Any:
    """An onnxruntime.InferenceSession on `device`.

    onnxruntime lists CUDA even where CUDA is missing, and then falls back to the CPU with only a log line.
    Therefore the provider of the created session is checked. Raises ProviderError if it is another one.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without this, each new picture size starts a search over every convolution algorithm.
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
    providers = [cuda, "CPUExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ProviderError(
            "device is cuda, but this onnxruntime was built without CUDA (the package onnxruntime hides "
            "onnxruntime-gpu): pip install --force-reinstall --no-deps onnxruntime-gpu, or set device to cpu"
        )
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    verify_provider(session, device)
    return session


def verify_provider(session: Any, device: Device) -> str:
    """The provider in use. Raises ProviderError if it does not match `device`."""
    provider = str(session.get_providers()[0])
    if provider != _PROVIDERS[device]:
        raise ProviderError(
            f"device is {device}, but the session runs on {provider}: onnxruntime found no usable GPU, "
            "driver, CUDA or cuDNN; install the versions that onnxruntime-gpu requires, or set device to cpu"
        )
    return provider


@lru_cache(maxsize=32)
def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_use(name: str, path: Path, provider: str) -> ModelUse:
    return ModelUse(name=name, sha256=_file_sha256(path), provider=provider)
