"""Trains a tiny network to detect from a face and its sound whether the person speaks.

    python -m mien.models.examples.speaking mien-demo/shards --global-batch 2 --epochs 3
    torchrun --nproc-per-node 2 -m mien.models.examples.speaking SHARDS --out runs/speaking --workers 2
    python -m mien.cluster.examples.ray_train SHARDS --out runs/speaking --ranks 2

The first command is a tiny run on the CPU with the shards of `mien demo`. You can kill a run at any time and
restart it with the same --out on any number of ranks that divides the batch. It resumes from its last
checkpoint and ends with the same parameters, bit for bit, as an uninterrupted run (models/examples/exact.py
explains how). It runs on the CPU, with gloo.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import torch
    from torch import Tensor, nn
except ImportError:
    sys.exit("mien: training needs torch; run pip install 'mien[train]'")

from mien import AudioField, FacesField, Loader, ShardReader, TrackField, Window
from mien.ingest.errors import MienError, UsageError
from mien.models.examples.checkpoint import FileCheckpoint, digest
from mien.models.examples.exact import ExactSum, in_group
from mien.models.reader.loader.ranks import find_rank
from mien.pipelines.data import ROW_SAMPLES

ROWS = 16
"""Rows per window: 0.64 s."""
FACE_PIXELS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    shards: str
    out: str
    """The folder of the checkpoint."""
    epochs: int = 3
    global_batch: int = 16
    """Samples per step over all ranks."""
    micro_batch: int = 2
    """Samples whose gradient is computed at once. The division does not depend on the number of ranks."""
    workers: int = 0
    checkpoint_steps: int = 10
    learning_rate: float = 3e-3
    seed: int = 0


class Speaking(nn.Module):
    """(B, T, 1, 48, 48) luma and (B, T * 640) sound in [-1, 1) to (B, T) scores."""

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=4), nn.GELU(), nn.Conv2d(8, 16, 3, stride=2), nn.GELU(), nn.Flatten(),
            nn.Linear(16 * 25, 16),
        )  # fmt: skip
        self.sound_encoder = nn.Sequential(nn.Conv1d(1, 16, ROW_SAMPLES, stride=ROW_SAMPLES), nn.GELU())
        self.classifier = nn.Sequential(nn.Conv1d(32, 16, 5, padding=2), nn.GELU(), nn.Conv1d(16, 1, 1))

    def forward(self, faces: Tensor, audio: Tensor) -> Tensor:
        batch, rows = faces.shape[:2]
        face = self.face_encoder(faces.flatten(0, 1)).reshape(batch, rows, -1).transpose(1, 2)
        sound = self.sound_encoder(audio[:, None])
        scores: Tensor = self.classifier(torch.cat([face, sound], dim=1))
        return scores[:, 0]


def squared_errors(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """The sum of the squared errors over the rows with a known score, and the number of these rows. Not the
    mean, because the mean is over the global batch and one rank sees only a part of it."""
    known = batch["speaking_mask"] & batch["faces_mask"] & batch["valid"][:, None]
    faces = batch["faces"].to(torch.float64).permute(0, 1, 4, 2, 3) / 255 - 0.5
    scores = model(faces, batch["audio"].to(torch.float64))
    errors = (scores - batch["speaking"][..., 0].to(torch.float64)).square()
    return torch.where(known, errors, 0.0).sum(), int(known.sum())


def micro_batches(batch: dict[str, Any], size: int) -> Iterator[dict[str, Tensor]]:
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    for start in range(0, len(batch["valid"]), size):
        yield {name: value[start : start + size] for name, value in tensors.items()}


def train(
    options: Options,
    *,
    load: Callable[[], dict[str, Any] | None],
    save: Callable[[dict[str, Any], dict[str, float]], None],
    report: Callable[[str], None],
) -> nn.Module:
    """Trains one rank from the checkpoint that `load` returns, or from the start if it returns None.

    `save` is called on every rank with the same checkpoint and its metrics.
    Raises UsageError, and the reader's errors.
    """
    _, world = find_rank(None, None)
    if options.global_batch % (world * options.micro_batch):
        raise UsageError(
            f"the batch must be divisible by {world} ranks times {options.micro_batch} samples per "
            f"micro-batch; got {options.global_batch = }"
        )
    torch.set_num_threads(1)  # the order of sums within a kernel depends on the threads
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    model = Speaking().double()
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    reader = ShardReader(
        options.shards,
        fields=[FacesField(size=FACE_PIXELS, grey=True), AudioField(), TrackField("speaking")],
        windows=Window.of_frames(ROWS),
        seed=options.seed,
    )
    step = 0
    with reader.loader(global_batch=options.global_batch, workers=options.workers, tensors=True) as loader:
        if (state := load()) is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            loader.load_state_dict(state["loader"])
            step = state["step"]
            ranks = "1 rank" if world == 1 else f"{world} ranks"
            report(f"resuming after step {step}, epoch {loader.epoch}, on {ranks}")
        for epoch in range(loader.epoch, options.epochs):
            for batch in loader:
                loss = take_step(model, optimizer, batch, options)
                step += 1
                at_end = loader.epoch == options.epochs
                report(f"step {step}  epoch {epoch}  loss {loss:.6f}")
                if step % options.checkpoint_steps == 0 or at_end:
                    save(checkpoint(model, optimizer, loader, step), {"step": step, "loss": loss})
    return model


def take_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Any], options: Options
) -> float:
    """Takes one optimizer step. Returns the mean squared error of the global batch before the step."""
    parameters = list(model.parameters())
    total = ExactSum(
        sum(parameter.numel() for parameter in parameters) + 1,
        terms=options.global_batch // options.micro_batch,
    )
    rows = 0
    for part in micro_batches(batch, options.micro_batch):
        error, count = squared_errors(model, part)
        gradients = torch.autograd.grad(error, parameters)
        total.add(torch.cat([error.detach()[None], *(gradient.flatten() for gradient in gradients)]))
        rows += count
    sums, all_rows = total.over_ranks(rows)
    mean = sums / max(all_rows, 1)
    start = 1
    for parameter in parameters:
        parameter.grad = mean[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    optimizer.step()
    return float(mean[0])


def checkpoint(model: nn.Module, optimizer: Any, loader: Loader, step: int) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loader": loader.state_dict(),
        "step": step,
    }


def parse(arguments: Sequence[str] | None, *, parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds an option for each field of `Options`."""
    parser.add_argument("shards", help="folder or URI of shards whose samples have a `speaking` track")
    parser.add_argument("--out", default="runs/speaking", help="folder of the checkpoint [%(default)s]")
    for name, text in (
        ("epochs", "passes through the samples"),
        ("global_batch", "samples per step, over all ranks"),
        ("micro_batch", "samples whose gradient is computed at once"),
        ("workers", "worker processes of each rank"),
        ("checkpoint_steps", "steps between checkpoints"),
        ("learning_rate", "learning rate of Adam"),
        ("seed", "seed of the parameters and of the sample order"),
    ):
        default = Options.__dataclass_fields__[name].default
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help=f"{text} [{default}]")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = Options(
        **vars(parse(arguments, parser=argparse.ArgumentParser("mien.models.examples.speaking")))
    )
    try:
        with in_group() as rank:
            files = FileCheckpoint(Path(options.out), rank=rank)

            def report(line: str) -> None:
                if rank == 0:
                    print(line, flush=True)

            model = train(options, load=files.load, save=files.save, report=report)
            report(f"done: {files.path}, parameters {digest(model)}")
    except (MienError, OverflowError) as error:
        sys.exit(f"mien: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
