"""Workers as actors of Ray, on this machine or on a cluster."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from mien.cluster.engine.actor import Actor, Reply
from mien.cluster.engine.backends.interface import Fault, Handle, What
from mien.cluster.engine.backends.ray_session import RaySession
from mien.cluster.engine.errors import classify, plain
from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.interface import PoolSpec
from mien.pipelines.stage import Stage, StageContext


class RayBackend:
    """Connects to the Ray at `address`, or starts one of its own. Ray retries and restarts nothing."""

    def __init__(
        self,
        *,
        address: str | None = None,
        object_store_bytes: int = 2 * 1024**3,
        num_cpus: int | None = None,
    ) -> None:
        self._session = RaySession(address=address, object_store_bytes=object_store_bytes, num_cpus=num_cpus)

    def open(self) -> None:
        self._session.__enter__()  # before Ray is imported: it reads its environment then

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

        options: dict[str, Any] = {} if cpus else {"scheduling_strategy": _among_workers()}
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
        return _ActorHandle(remote.remote(stage, threads, last, spec.report))

    def fault(self, stage: str, error: BaseException) -> Fault:
        import ray.exceptions as ray_errors

        cause = error.cause if isinstance(error, ray_errors.RayTaskError) else None
        if isinstance(cause, ray_errors.ObjectLostError):
            return Fault(What.INPUT_LOST, classify(cause))
        if isinstance(error, ray_errors.RayTaskError):
            return Fault(What.RAISED, classify(cause or error))
        if isinstance(error, ray_errors.ActorUnschedulableError | ray_errors.RuntimeEnvSetupError):
            return Fault(
                What.UNPLACEABLE, plain("InfeasibleError", f"stage {stage} cannot be placed: {error}")
            )
        text = str(error)
        if isinstance(error, ray_errors.OutOfMemoryError) or "running low on memory" in text:
            return Fault(What.DIED, plain("OutOfMemoryError", f"the node ran out of memory in stage {stage}"))
        detail = text.rsplit("Worker exit detail:", 1)[-1] if "Worker exit detail:" in text else text
        return Fault(What.DIED, plain("WorkerDiedError", f"the worker of stage {stage} died: {detail[:200]}"))

    def check_alive(self) -> None:
        self._session.check_alive()

    def close(self) -> None:
        self._session.__exit__()


def take_workers(nodes: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Of `ray.nodes()`, those on which a worker may be placed."""
    return (node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0.0) > 0)


def _among_workers() -> Any:
    """Where an actor goes that asks for no CPU: by itself it would as soon go to a head that has none, and
    that no other worker has made ready (weights, media)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    able = [node["NodeID"] for node in take_workers(ray.nodes())]  # type: ignore[no-untyped-call]
    return NodeAffinitySchedulingStrategy(random.choice(able), soft=False) if able else "DEFAULT"  # noqa: S311


class _ActorHandle:
    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._methods: dict[str, Any] = {}

    def submit(self, method: str, *arguments: Any) -> tuple[Any, Future[Reply]]:
        remote = self._methods.get(method)
        if remote is None:
            remote = self._methods[method] = getattr(self._actor, method).options(num_returns=2).remote
        payload, reply = remote(*arguments)
        return payload, reply.future()

    def kill(self) -> None:
        import ray

        with suppress(ray.exceptions.RayError):  # the cluster itself may be gone
            ray.kill(self._actor)
