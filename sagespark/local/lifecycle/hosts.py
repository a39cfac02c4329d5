"""The hosts of a job, named as AWS names them: ``algo-1``, ``algo-2``, ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HOMOGENEOUS = "homogeneousCluster"
"""Name of the one instance group of a job that declares none."""
INTERFACE = "lo"
"""Network interface by which the hosts of a job reach each other."""


@dataclass(frozen=True)
class Host:
    """One host."""

    name: str
    instance_type: str
    group: str


def hosts_of(resources: dict[str, Any]) -> tuple[Host, ...]:
    """Return the hosts that a ``ResourceConfig`` asks for, in order."""
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": HOMOGENEOUS,
            "InstanceType": resources["InstanceType"],
            "InstanceCount": resources["InstanceCount"],
        }
    ]
    kinds = [g for g in groups for _ in range(g["InstanceCount"])]
    return tuple(Host(f"algo-{i}", kind["InstanceType"], kind["InstanceGroupName"]) for i, kind in enumerate(kinds, 1))


def addresses(hosts: tuple[Host, ...], start: int = 0) -> dict[str, str]:
    """Return a loopback address of its own for each host, 127.1.1.1 and up.

    Jobs share this machine's network, so that they reach this service and package registries: with addresses of their
    own two jobs may serve on the same port, and so may two hosts of one job.

    Parameters
    ----------
    hosts : tuple of Host
    start : int
        Tells the job from others; any number.
    """
    return {host.name: _address(start + i) for i, host in enumerate(hosts)}


def _address(number: int) -> str:
    number %= 250**3
    return f"127.{number // 62500 + 1}.{number // 250 % 250 + 1}.{number % 250 + 1}"


def resource_config(hosts: tuple[Host, ...], current: Host) -> dict[str, Any]:
    """Return what ``resourceconfig.json`` tells the container of ``current``."""
    groups = dict.fromkeys(host.group for host in hosts)
    return {
        "current_host": current.name,
        "current_instance_type": current.instance_type,
        "current_group_name": current.group,
        "hosts": [host.name for host in hosts],
        "instance_groups": [
            {
                "instance_group_name": group,
                "instance_type": next(h.instance_type for h in hosts if h.group == group),
                "hosts": [h.name for h in hosts if h.group == group],
            }
            for group in groups
        ],
        "network_interface_name": INTERFACE,
    }
