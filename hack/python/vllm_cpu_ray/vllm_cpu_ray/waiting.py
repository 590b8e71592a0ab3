"""How ranks wait for their next step on a machine whose cores they share with everything else."""

import time

from vllm.distributed.device_communicators import shm_broadcast

# Seconds. Far below the time of a step on CPU.
_NAP = 0.0005


def _nap() -> None:
    # The stock wait is a loop of sched_yield for a second after each step: while one engine streams, its ranks
    # take every core from the engine that is being loaded beside it.
    time.sleep(_NAP)


shm_broadcast.sched_yield = _nap
