"""The Ray engine: the same shard function as tasks on a cluster. A lost worker or node costs the shards it held."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ltcam.cluster.generations import Task
from ltcam.cluster.local import Make
from ltcam_runtime.errors import OutputError, SettingsError

_RETRIES = 10
_OBJECT_STORE_BYTES = 200 * 2**20  # shards are written by the workers; only their numbers travel

_makers: dict[int, Make] = {}


@dataclass(frozen=True)
class RayEngine:
    """Tasks on a Ray cluster.

    Attributes:
        open_maker: called once in each worker process; loads the model there. Must be picklable.
        address: `host:port` of a cluster; "" starts one on this machine, which ends with the command.
        processes: CPUs of a cluster that is started here.
    """

    open_maker: Callable[[], Make]
    address: str = ""
    processes: int = 1

    def __call__(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Make the shards.

        Raises:
            SettingsError: no cluster answers at the address, or it does not take the token.
            OutputError: a shard failed on every worker that tried.
        """
        if not tasks:
            return
        ray = self._connected()
        try:
            make = ray.remote(max_retries=_RETRIES, scheduling_strategy="SPREAD", num_cpus=1)(_work_on)
            opener = ray.put(self.open_maker)
            yield from self._work(ray, make, opener, tasks)
        finally:
            ray.shutdown()

    def _connected(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray  # noqa: PLC0415  # an extra, and slow to import

        options: dict[str, Any] = {
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": "error",
        }
        if not self.address:  # "local" never joins a cluster that somebody left running
            options.update(num_cpus=self.processes, object_store_memory=_OBJECT_STORE_BYTES)
            options["_node_ip_address"] = "127.0.0.1"
        elif not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            raise SettingsError(
                "`address`: a cluster listens on all interfaces; start it with RAY_AUTH_MODE=token and a token, and "
                "give the same RAY_AUTH_MODE and RAY_AUTH_TOKEN here"
            )
        try:
            ray.init(address=self.address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = str(error).splitlines()[0]
            raise SettingsError(
                f"`address` {self.address or 'local'}: no cluster could be used: {reason}"
            ) from error
        return ray

    def _work(self, ray: Any, make: Any, opener: Any, tasks: Sequence[Task]) -> Iterator[int]:
        ahead = max(4, 2 * int(ray.cluster_resources().get("CPU", 1)))
        under_way: list[Any] = []
        waiting = iter(tasks)
        more = True
        while more or under_way:
            while more and len(under_way) < ahead:
                task = next(waiting, None)
                if task is None:
                    more = False
                else:
                    under_way.append(make.remote(opener, task))
            finished, under_way = ray.wait(under_way, num_returns=1) if under_way else ([], [])
            for done in finished:
                try:
                    yield ray.get(done)
                except ray.exceptions.RayError as error:
                    raise OutputError(f"a shard could not be made: {str(error).splitlines()[-1]}") from error


def _work_on(open_maker: Callable[[], Make], task: Task) -> int:
    if os.getpid() not in _makers:
        _makers[os.getpid()] = open_maker()
    return _makers[os.getpid()](task)
