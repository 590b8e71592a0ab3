"""The CPU communicator for groups that may span hosts."""

import platform
from typing import Any

from vllm.distributed.device_communicators import cpu_communicator

_group_name = cpu_communicator._CPUSHMDistributed.make_group_name


def _name_with_host(communicator: Any) -> str:
    # The stock name is the same on every host, so a group over hosts would try one host's shared memory;
    # with the host in it the names differ there and vLLM falls back to TCP.
    return f"{platform.node()}-{_group_name(communicator)}"


cpu_communicator._CPUSHMDistributed.make_group_name = staticmethod(_name_with_host)


class HostAwareCpuCommunicator(cpu_communicator.CpuCommunicator):
    """vLLM's CPU communicator; importing it through this module puts the host into its group names."""
