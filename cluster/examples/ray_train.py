"""models/examples/speaking.py under Ray Train: the same loop, whose checkpoints Ray keeps.

    python -m mien.cluster.examples.ray_train mien-demo/shards --global-batch 2 --micro-batch 1 --ranks 2
    python -m mien.cluster.examples.ray_train s3://bucket/shards --out /nfs/speaking --ranks 8 --address auto

Where a rank dies, Ray begins all of them again from the last checkpoint; where everything dies, the same
command does, with as many ranks as there are by then. Nothing else differs from torchrun: the reader takes
rank and world from torch.distributed, and its decoding processes are programs of their own, so neither
fork nor Ray's threads are in their way.
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
"""Batches never go through it."""


def train_rank(told: dict[str, Any]) -> None:
    """One rank's part, in a worker of Ray Train, which has set torch.distributed up."""
    from ray import train

    from mien.models.examples.checkpoint import NAME, read, write
    from mien.models.examples.speaking import Options
    from mien.models.examples.speaking import train as train_speaking

    first = train.get_context().get_world_rank() == 0

    def load() -> dict[str, Any] | None:
        kept = train.get_checkpoint()
        if kept is None:
            return None
        with kept.as_directory() as folder:
            return read(Path(folder) / NAME)

    def save(state: dict[str, Any], numbers: dict[str, float]) -> None:
        # Every rank reports, for it is a barrier; one has something to keep.
        with tempfile.TemporaryDirectory() as folder:
            if first:
                write(Path(folder) / NAME, state)
            train.report(numbers, checkpoint=train.Checkpoint.from_directory(folder) if first else None)

    train_speaking(Options(**told), load=load, save=save, report=lambda line: print(line) if first else None)


def run(options: Options, *, ranks: int, address: str | None = None, max_failures: int = 3) -> dict[str, Any]:
    """The last checkpoint. What `options.out` holds already is gone on with.

    Raises UsageError, UnexpectedError: training failed more often than `max_failures`, with the last cause.
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
            kept = trainer.fit().checkpoint
        except train.TrainingFailedError as error:
            raise UnexpectedError(f"training failed: {one_line(str(error))}") from error
        if kept is None:
            raise UsageError(f"{out} has no checkpoint; it must be new, or of this program")
        with kept.as_directory() as folder:
            return read(Path(folder) / NAME)


def _check_installed() -> None:
    try:
        import ray.train  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Ray Train cannot be had ({error}); pip install 'mien[train]'") from error


def main(arguments: Sequence[str] | None = None) -> None:
    from mien.models.examples.checkpoint import digest
    from mien.models.examples.speaking import Options, Speaking, parse

    parser = argparse.ArgumentParser("mien.cluster.examples.ray_train")
    parser.add_argument("--ranks", type=int, default=2, help="workers of Ray Train [2]")
    parser.add_argument("--address", help="of a Ray cluster [one is started here]")
    told = vars(parse(arguments, parser=parser))
    ranks, address = told.pop("ranks"), told.pop("address")
    try:
        state = run(Options(**told), ranks=ranks, address=address)
    except MienError as error:
        sys.exit(f"mien: {type(error).__name__}: {error}")
    model = Speaking().double()
    model.load_state_dict(state["model"])
    print(f"done: step {state['step']}, parameters {digest(model)}")


if __name__ == "__main__":
    main()
