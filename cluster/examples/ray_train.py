"""models/examples/speaking.py under Ray Train: the same training loop, with checkpoints stored by Ray.

    python -m mien.cluster.examples.ray_train mien-demo/shards --global-batch 2 --micro-batch 1 --ranks 2
    python -m mien.cluster.examples.ray_train s3://bucket/shards --out /nfs/speaking --ranks 8 --address auto

If a rank dies, Ray restarts all ranks from the last checkpoint. If everything dies, rerun the same command;
the number of ranks may differ. Nothing else differs from torchrun: the reader gets rank and world size
from torch.distributed. Its decoding processes are separate programs, so fork and the threads of Ray do not
affect them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.cluster.engine.backends.ray_session import RaySession
from mien.ingest.errors import MienError, UnexpectedError, UsageError, one_line

if TYPE_CHECKING:
    from mien.models.examples.speaking import Options

OBJECT_STORE_BYTES = 1 << 28
"""Small, because batches do not go through it."""


def train_rank(options: dict[str, Any]) -> None:
    """Trains as one rank, in a worker of Ray Train that has set up torch.distributed."""
    from ray import train

    from mien.models.examples.checkpoint import NAME, read, write
    from mien.models.examples.speaking import Options
    from mien.models.examples.speaking import train as train_speaking

    is_first = train.get_context().get_world_rank() == 0

    def load() -> dict[str, Any] | None:
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return read(Path(folder) / NAME)

    def save(state: dict[str, Any], numbers: dict[str, float]) -> None:
        # Every rank reports, because reporting is a barrier. Only the first rank stores a checkpoint.
        with tempfile.TemporaryDirectory() as folder:
            if is_first:
                write(Path(folder) / NAME, state)
            train.report(numbers, checkpoint=train.Checkpoint.from_directory(folder) if is_first else None)

    def report(line: str) -> None:
        if is_first:
            print(line)

    train_speaking(Options(**options), load=load, save=save, report=report)


def run(options: Options, *, ranks: int, address: str | None = None, max_failures: int = 3) -> dict[str, Any]:
    """Trains and returns the last checkpoint. Resumes from a checkpoint in `options.out`.

    Raises UsageError, or UnexpectedError if training failed more than `max_failures` times.
    """
    _check_installed()
    with RaySession(address=address, object_store_bytes=OBJECT_STORE_BYTES, num_cpus=ranks):
        from ray import train
        from ray.train.torch import TorchConfig, TorchTrainer

        from mien.models.examples.checkpoint import NAME, read

        out = Path(options.out).absolute()
        trainer = TorchTrainer(
            train_rank,
            train_loop_config=asdict(options),
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=train.ScalingConfig(num_workers=ranks, resources_per_worker={"CPU": 1}),
            run_config=train.RunConfig(
                name=out.name,
                storage_path=str(out.parent),
                failure_config=train.FailureConfig(max_failures=max_failures),
                checkpoint_config=train.CheckpointConfig(num_to_keep=2),
            ),
        )
        try:
            checkpoint = trainer.fit().checkpoint
        except train.TrainingFailedError as error:
            raise UnexpectedError(f"training failed: {one_line(str(error))}") from error
        if checkpoint is None:
            raise UsageError(f"{out} exists but has no checkpoint of this program; choose another --out")
        with checkpoint.as_directory() as folder:
            return read(Path(folder) / NAME)


def _check_installed() -> None:
    try:
        import ray.train  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Ray Train is not installed ({error}); run pip install 'mien[train]'") from error


def main(arguments: Sequence[str] | None = None) -> None:
    from mien.models.examples.checkpoint import digest
    from mien.models.examples.speaking import Options, Speaking, parse

    parser = argparse.ArgumentParser("mien.cluster.examples.ray_train")
    parser.add_argument("--ranks", type=int, default=2, help="number of Ray Train workers [2]")
    parser.add_argument("--address", help="address of a Ray cluster [starts a local one]")
    values = vars(parse(arguments, parser=parser))
    ranks, address = values.pop("ranks"), values.pop("address")
    try:
        state = run(Options(**values), ranks=ranks, address=address)
    except MienError as error:
        sys.exit(f"mien: {error}")
    model = Speaking().double()
    model.load_state_dict(state["model"])
    print(f"done: step {state['step']}, parameters {digest(model)}")


if __name__ == "__main__":
    main()
