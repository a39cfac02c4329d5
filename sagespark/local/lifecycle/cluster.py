"""The containers of one attempt of a job: a host each, started together and ended together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from sagespark.local.containers.runner import Container, ContainerRuntime, ContainerSpec


class Cluster:
    """Containers by host.

    Parameters
    ----------
    runtime : ContainerRuntime
        Starts them.
    changed : Condition
        Notified whenever a container has ended.
    name : str
        The job, for names of threads.
    """

    def __init__(self, runtime: ContainerRuntime, changed: threading.Condition, name: str) -> None:
        self._runtime = runtime
        self._changed = changed
        self._name = name
        self._containers: dict[str, Container] = {}
        self.codes: dict[str, int] = {}
        """Exit codes by host, in the order in which the containers ended."""

    def start(self, host: str, spec: ContainerSpec, on_line: Callable[[str], None]) -> None:
        """Start a host's container.

        Raises
        ------
        ContainerError
            If the kernel refuses it.
        """
        container = self._runtime.run(spec, on_line)
        self._containers[host] = container

        def wait() -> None:
            code = container.wait()
            with self._changed:
                self.codes[host] = 1 if code is None else code
                self._changed.notify_all()

        threading.Thread(target=wait, name=f"training-{self._name}-{host}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether every container has ended."""
        return len(self.codes) == len(self._containers)

    @property
    def failed(self) -> bool:
        """Whether a container ended with an exit code other than 0."""
        return any(self.codes.values())

    @property
    def failures(self) -> list[tuple[str, int]]:
        """Hosts and exit codes of the containers that failed, the first one first."""
        return [(host, code) for host, code in self.codes.items() if code]

    def end(self, grace: float, hurry: Callable[[], bool]) -> None:
        """Send SIGTERM to what still runs, and SIGKILL after the grace.

        Parameters
        ----------
        grace : float
            Real seconds.
        hurry : callable
            Tells that there is no time for the grace any more.
        """
        for container in self._running().values():
            container.terminate()
        with self._changed:
            self._changed.wait_for(lambda: self.ended or hurry(), grace)
        for container in self._running().values():
            container.kill()
        with self._changed:
            self._changed.wait_for(lambda: self.ended)

    def kill(self) -> None:
        """Make sure that nothing of any container is alive."""
        for container in self._containers.values():
            container.kill()

    def _running(self) -> Mapping[str, Container]:
        return {host: container for host, container in self._containers.items() if host not in self.codes}
