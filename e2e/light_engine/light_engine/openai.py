"""OpenAI request and response types: parsed requests, and the JSON of answers and stream chunks.
Pure data; HTTP and ranks do not belong here."""

import time
import uuid
import zlib
from dataclasses import dataclass
from typing import Any, Dict, List, Optional


class RequestError(ValueError):
    """The request cannot be served. `status` is the HTTP status, `kind` vLLM's name of the error."""

    def __init__(self, message: str, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def error_body(message: str, kind: str, status: int) -> Dict[str, Any]:
    """An error as vLLM answers it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


@dataclass
class Wanted:
    """A parsed request. `tokens` is exact: the engine never stops earlier."""

    chat: bool
    model: str
    prompt: str
    tokens: int
    stream: bool
    stream_usage: bool
    identifier: str
    created: int

    @property
    def seed(self) -> int:
        """Same prompt, same completion."""
        return zlib.crc32(self.prompt.encode())

    @property
    def prompt_tokens(self) -> int:
        """One token per word, at least one."""
        return max(1, len(self.prompt.split()))

    def usage(self, completion: int) -> Dict[str, int]:
        """The usage object after `completion` tokens."""
        prompt = self.prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def answer(self, words: List[str]) -> Dict[str, Any]:
        """The whole completion in one object."""
        text = " ".join(words)
        part: Dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": "length", "stop_reason": None}
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [choice], "usage": self.usage(len(words))}

    def chunk(self, text: str, finish: Optional[str] = None) -> Dict[str, Any]:
        """One streamed chunk; the last one has `finish`."""
        part: Dict[str, Any] = {"delta": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish, "stop_reason": None}
        return {**self._head("chat.completion.chunk" if self.chat else "text_completion"), "choices": [choice]}

    def usage_chunk(self, completion: int) -> Dict[str, Any]:
        """The final chunk that clients get with stream_options.include_usage."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [], "usage": self.usage(completion)}

    def _head(self, kind: str) -> Dict[str, Any]:
        return {"id": self.identifier, "object": kind, "created": self.created, "model": self.model}


def read(body: Any, chat: bool, served: str, longest: int) -> Wanted:
    """Checks a request body. `longest` is the model's context in tokens. Raises RequestError."""
    if not isinstance(body, dict):
        raise RequestError("the body must be a JSON object")
    model = body.get("model") or served
    if model != served:
        raise RequestError(f"The model `{model}` does not exist.", 404, "NotFoundError")
    options = body.get("stream_options")
    wanted = Wanted(
        chat=chat,
        model=served,
        prompt=_messages(body.get("messages")) if chat else _prompt(body.get("prompt")),
        tokens=_tokens(body, 128 if chat else 16),
        stream=body.get("stream") is True,
        stream_usage=isinstance(options, dict) and options.get("include_usage") is True,
        identifier=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        created=int(time.time()),
    )
    if wanted.prompt_tokens + wanted.tokens > longest:
        raise RequestError(
            f"This model's maximum context length is {longest} tokens, "
            f"{wanted.prompt_tokens} in the prompt and {wanted.tokens} in the completion were requested."
        )
    return wanted


def _tokens(body: Dict[str, Any], default: int) -> int:
    value = body.get("max_completion_tokens", body.get("max_tokens"))
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RequestError(f"max_tokens must be at least 1, got {value!r}.")
    return value


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if isinstance(prompt, str):
        return prompt
    raise RequestError("prompt must be a string or a list of one string")


def _messages(messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list of at least one message")
    lines = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise RequestError("every message needs a string as content")
        lines.append(f"{message.get('role', 'user')}: {message['content']}")
    return "\n".join(lines)
