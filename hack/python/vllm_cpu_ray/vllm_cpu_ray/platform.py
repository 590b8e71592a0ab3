"""The CPU platform with what vLLM's own lacks for Ray. Each override says which failure it takes away."""

from typing import Any

from vllm.platforms.cpu import CpuPlatform


class CpuRayPlatform(CpuPlatform):
    """CPU ranks that hold Ray's logical GPUs (`ray start --num-gpus=N`)."""

    # Empty in vLLM, which then refuses: "current platform cpu does not support ray".
    ray_device_key = "GPU"
    # Ray would hide devices from ranks by CUDA_VISIBLE_DEVICES; vLLM reads the assignment from Ray's context instead.
    ray_noset_device_env_vars = ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]
    # The default compiles C++ at the first request, for more than a minute.
    simple_compile_backend = "eager"

    @classmethod
    def get_device_communicator_cls(cls) -> str:
        """The communicator that tells hosts apart."""
        return "vllm_cpu_ray.communicator.HostAwareCpuCommunicator"

    @classmethod
    def check_and_update_config(cls, vllm_config: Any) -> None:
        """Puts in our worker before the stock code fills in its own."""
        parallel = vllm_config.parallel_config
        if parallel.worker_cls == "auto":
            parallel.worker_cls = "vllm_cpu_ray.worker.CpuRayWorker"
        super().check_and_update_config(vllm_config)
