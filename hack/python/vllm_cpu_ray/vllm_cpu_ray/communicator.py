"""The CPU communicator for groups that may span hosts."""

import platform
from itertools import accumulate
from typing import Any, List, Optional, Union

import torch
from vllm.distributed.device_communicators import cpu_communicator

_group_name = cpu_communicator._CPUSHMDistributed.make_group_name


def _name_with_host(communicator: Any) -> str:
    # The stock name is the same on every host, so a group over hosts would try one host's shared memory;
    # with the host in it the names differ there and vLLM falls back to TCP.
    return f"{platform.node()}-{_group_name(communicator)}"


cpu_communicator._CPUSHMDistributed.make_group_name = staticmethod(_name_with_host)


class HostAwareCpuCommunicator(cpu_communicator.CpuCommunicator):
    """vLLM's CPU communicator; importing it through this module puts the host into its group names.

    With the two operations by which data-parallel engines exchange tokens for their experts. vLLM's lacks them: the
    first step would fail with NotImplementedError.
    """

    def all_gatherv(
        self, input_: Union[torch.Tensor, List[torch.Tensor]], dim: int = 0, sizes: Optional[List[int]] = None
    ) -> Union[torch.Tensor, List[torch.Tensor]]:
        """The rows of all ranks, one after the other; rank i has `sizes[i]` of them."""
        if isinstance(input_, torch.Tensor):
            return self._gather(input_, dim, sizes)
        return [self._gather(tensor, dim, sizes) for tensor in input_]

    def reduce_scatterv(self, input_: torch.Tensor, dim: int = -1, sizes: Optional[List[int]] = None) -> torch.Tensor:
        """This rank's rows of the sum over all ranks."""
        counts = self._counts(input_.shape[dim] // self.world_size, sizes)
        summed = input_.contiguous().clone()
        torch.distributed.all_reduce(summed, group=self.device_group)
        start = [0, *accumulate(counts)][self.rank_in_group]
        return summed.narrow(dim, start, counts[self.rank_in_group]).contiguous()

    def _gather(self, tensor: torch.Tensor, dim: int, sizes: Optional[List[int]]) -> torch.Tensor:
        counts = self._counts(tensor.shape[dim], sizes)
        # Gloo gathers tensors of one size only.
        rows = tensor.movedim(dim, 0)
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: rows.shape[0]] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        torch.distributed.all_gather(parts, padded, group=self.device_group)
        return torch.cat([part[:count] for part, count in zip(parts, counts)]).movedim(0, dim).contiguous()

    def _counts(self, each: int, sizes: Optional[List[int]]) -> List[int]:
        return [each] * self.world_size if sizes is None else list(sizes)
