"""A vLLM platform plugin: CPU ranks under Ray, with tensor and pipeline parallelism over nodes. Checked with vLLM 0.32.0.
Only the registration lives here, because vLLM imports every installed plugin in every process."""

import os
from typing import Optional


def register() -> Optional[str]:
    """The platform's class path if VLLM_CPU_RAY=1, else None: the same installation runs stock vLLM too."""
    return "vllm_cpu_ray.platform.CpuRayPlatform" if os.environ.get("VLLM_CPU_RAY") == "1" else None
