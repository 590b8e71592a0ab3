"""The CPU worker for pipeline stages after the first."""

from typing import Any

from vllm.distributed.parallel_state import get_pp_group
from vllm.v1.worker.cpu_worker import CPUWorker

from vllm_cpu_ray import experts as experts
from vllm_cpu_ray import waiting as waiting


class CpuRayWorker(CPUWorker):
    """A CPU worker whose later stages can receive what the stage before them sends."""

    def load_model(self, *args: Any, **kwargs: Any) -> Any:
        """Loads, then allocates the buffer for the stage's input.

        vLLM allocates it in its profile run alone, which CPU skips with --enforce-eager: the first request would
        then fail with `assert self.intermediate_tensors is not None`.
        """
        loaded = super().load_model(*args, **kwargs)
        runner = self.model_runner
        if not get_pp_group().is_first_rank and runner.intermediate_tensors is None:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )
        return loaded
