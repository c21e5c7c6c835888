"""ONNX sessions that prove where they run."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mien.ingest.errors import ProviderError
from mien.pipelines.data import ModelUse

Device = Literal["cpu", "cuda"]

_WANTED = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(path: Path, device: Device, threads: int) -> Any:
    """An onnxruntime.InferenceSession on `device`.

    onnxruntime lists CUDA where CUDA is missing, and falls back to the CPU with a log line. The provider of
    the session as created is the only proof; raises ProviderError where it is another than was asked for.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Pictures of a new size must not set off a search over every convolution algorithm.
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
    providers = [cuda, "CPUExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ProviderError(
            "device is cuda, but this onnxruntime was built without CUDA (the package onnxruntime covers "
            "onnxruntime-gpu): pip install --force-reinstall --no-deps onnxruntime-gpu, or set device to cpu"
        )
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    prove(session, device)
    return session


def prove(session: Any, device: Device) -> str:
    """The provider in use; raises ProviderError where it is not `device`'s."""
    provider = str(session.get_providers()[0])
    if provider != _WANTED[device]:
        raise ProviderError(
            f"device is {device}, but the session runs on {provider}: onnxruntime found no usable GPU, "
            "driver, CUDA or cuDNN; install those that this onnxruntime-gpu names, or set device to cpu"
        )
    return provider


@lru_cache(maxsize=32)
def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use_of(name: str, path: Path, provider: str) -> ModelUse:
    return ModelUse(name=name, sha256=sha256_of(path), provider=provider)
