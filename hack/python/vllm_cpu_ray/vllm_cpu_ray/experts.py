"""Experts on CPU that are distributed over ranks."""

from typing import Any

from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

_apply = CPUUnquantizedExperts.apply


def _with_map(self: Any, *args: Any, topk_weights: Any, topk_ids: Any, expert_map: Any, **more: Any) -> None:
    # The stock method ignores the map, and its kernel reads behind the weights of the rank's own experts: a segfault.
    if expert_map is not None:
        own = expert_map[topk_ids.long()]
        topk_ids, topk_weights = own.clamp(min=0).to(topk_ids.dtype), topk_weights * (own >= 0)
    _apply(self, *args, topk_weights=topk_weights, topk_ids=topk_ids, expert_map=expert_map, **more)


CPUUnquantizedExperts.apply = _with_map
