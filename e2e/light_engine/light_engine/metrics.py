"""/metrics in vLLM's names, so that whatever reads vLLM reads this engine."""

from light_engine.core_client import Cores


def exposition(model: str, cores: Cores) -> str:
    """The Prometheus text of one engine, or of data-parallel ones."""
    families = (
        ("vllm:num_requests_running", "gauge", "Requests that get tokens.", "running"),
        ("vllm:num_requests_waiting", "gauge", "Requests that wait for a place in the batch.", "waiting"),
        ("vllm:prompt_tokens_total", "counter", "Prompt tokens.", "prompted"),
        ("vllm:generation_tokens_total", "counter", "Generated tokens.", "generated"),
        ("vllm:request_success_total", "counter", "Completed requests.", "completed"),
    )
    escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for name, kind, meaning, field in families:
        reason = ',finished_reason="length"' if name == "vllm:request_success_total" else ""
        lines.append(f"# HELP {name} {meaning}")
        lines.append(f"# TYPE {name} {kind}")
        for engine, core in enumerate(cores.all):
            lines.append(f'{name}{{engine="{engine}"{reason},model_name="{escaped}"}} {float(getattr(core, field))}')
    return "\n".join(lines) + "\n"
