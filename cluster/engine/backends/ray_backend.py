"""Workers as Ray actors, on this machine or on a cluster."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from mien.cluster.engine.actor import Actor
from mien.cluster.engine.backends.interface import Fault, FaultKind, Handle
from mien.cluster.engine.backends.ray_session import RaySession
from mien.cluster.engine.errors import classify, permanent_error
from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.interface import PoolSpec
from mien.pipelines.stage import Stage, StageContext


class RayBackend:
    """Connects to the Ray cluster at `address`, or starts a local one. Ray itself retries nothing."""

    def __init__(
        self,
        *,
        address: str | None = None,
        object_store_bytes: int = 2 * 1024**3,
        num_cpus: int | None = None,
    ) -> None:
        self._session = RaySession(address=address, object_store_bytes=object_store_bytes, num_cpus=num_cpus)

    def open(self) -> None:
        self._session.__enter__()  # before Ray is imported, because Ray reads its environment then

    def nodes(self) -> list[Node]:
        import ray

        found = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in found]

    def pack(self, stage: Stage, context: StageContext) -> bytes:
        from ray import cloudpickle

        pickled: bytes = cloudpickle.dumps((stage, context))  # type: ignore[no-untyped-call]
        return pickled

    def start(self, spec: PoolSpec, stage: bytes, *, cpus: float, threads: int, last: bool) -> Handle:
        import ray
        from ray import cloudpickle  # pickles items whose class is defined in `__main__`, too

        options: dict[str, Any] = {} if cpus else {"scheduling_strategy": _worker_node()}
        if environment := spec.stage.environment:
            options["runtime_env"] = {"env_vars": environment}
        remote = ray.remote(Actor).options(
            num_cpus=cpus,
            num_gpus=spec.gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=1,
            **options,
        )
        return ActorHandle(remote.remote(stage, threads, last, spec.reports_outputs, cloudpickle.dumps))

    def fault(self, stage: str, error: BaseException) -> Fault:
        import ray.exceptions as ray_errors

        cause = error.cause if isinstance(error, ray_errors.RayTaskError) else None
        if isinstance(cause, ray_errors.ObjectLostError):
            return Fault(FaultKind.INPUT_LOST, classify(cause))
        if isinstance(error, ray_errors.RayTaskError):
            return Fault(FaultKind.RAISED, classify(cause or error))
        if isinstance(error, ray_errors.ActorUnschedulableError | ray_errors.RuntimeEnvSetupError):
            text = f"stage {stage} cannot be placed: {error}"
            return Fault(FaultKind.UNPLACEABLE, permanent_error("InfeasibleError", text))
        text = str(error)
        if isinstance(error, ray_errors.OutOfMemoryError) or "running low on memory" in text:
            text = f"the node ran out of memory in stage {stage}"
            return Fault(FaultKind.DIED, permanent_error("OutOfMemoryError", text))
        detail = text.rsplit("Worker exit detail:", 1)[-1] if "Worker exit detail:" in text else text
        text = f"the worker of stage {stage} died: {detail[:200]}"
        return Fault(FaultKind.DIED, permanent_error("WorkerDiedError", text))

    def check_alive(self) -> None:
        self._session.check_alive()

    def close(self) -> None:
        self._session.__exit__()


def worker_nodes(nodes: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The entries of `ray.nodes()` on which a worker may be placed."""
    return (node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0.0) > 0)


def _worker_node() -> Any:
    """The placement of an actor that requests no CPU. By default Ray might place it on a head node without
    CPUs, which no other worker has prepared (weights, media)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    suitable = [node["NodeID"] for node in worker_nodes(ray.nodes())]  # type: ignore[no-untyped-call]
    return NodeAffinitySchedulingStrategy(random.choice(suitable), soft=False) if suitable else "DEFAULT"  # noqa: S311


class ActorHandle:
    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._answer = actor.answer.options(num_returns=2).remote

    def submit(self, request: bytes, payload: Any = None) -> tuple[Any, Future[bytes]]:
        result, reply = self._answer(request, payload)
        return result, reply.future()

    def kill(self) -> None:
        import ray

        with suppress(ray.exceptions.RayError):  # the cluster itself may be gone
            ray.kill(self._actor)
