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


def addresses(hosts: tuple[Host, ...]) -> dict[str, str]:
    """Return a loopback address of its own for each host: 127.0.0.1, 127.0.0.2, ..."""
    return {host.name: f"127.0.{i // 250}.{i % 250 + 1}" for i, host in enumerate(hosts)}


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
