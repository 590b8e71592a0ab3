"""/metrics in vLLM's names, so that whatever reads vLLM reads this engine."""

from light_engine.core_client import Core


def exposition(model: str, core: Core) -> str:
    """The Prometheus text of one engine."""
    families = (
        ("vllm:num_requests_running", "gauge", "Requests that get tokens.", core.running),
        ("vllm:num_requests_waiting", "gauge", "Requests that wait for a place in the batch.", core.waiting),
        ("vllm:prompt_tokens_total", "counter", "Prompt tokens.", core.prompted),
        ("vllm:generation_tokens_total", "counter", "Generated tokens.", core.generated),
        ("vllm:request_success_total", "counter", "Completed requests.", core.completed),
    )
    escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for name, kind, meaning, value in families:
        reason = ',finished_reason="length"' if name == "vllm:request_success_total" else ""
        lines.append(f"# HELP {name} {meaning}")
        lines.append(f"# TYPE {name} {kind}")
        lines.append(f'{name}{{engine="0"{reason},model_name="{escaped}"}} {float(value)}')
    return "\n".join(lines) + "\n"
