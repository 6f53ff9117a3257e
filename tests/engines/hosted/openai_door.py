"""OpenAI engines that talk to a loopback server, and what the server answers them."""

from __future__ import annotations

from typing import Any

from synth.runtime.engines.hosted.openai import OpenAIEngine
from tests.kit.servers.asking import spec
from tests.kit.servers.loopback import Raw
from tests.kit.servers.openai import OpenAIServer


class Door:
    """Makes engines that talk to a server."""

    def __init__(self, server: OpenAIServer, **options: Any) -> None:
        self.options = {"base_url": server.base_url, **options}

    def __call__(self) -> OpenAIEngine:
        return OpenAIEngine(spec("openai", **self.options))


def completion(text: Any, **message: Any) -> dict[str, Any]:
    """A response body with this content."""
    return {
        "model": "model-x-0613",
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    }


def reply(server: OpenAIServer, body: Any, status: int = 200, **headers: str) -> None:
    """From now on the server answers everything with this."""
    raw = Raw(body, status, {name.replace("_", "-"): value for name, value in headers.items()})
    server.answer = lambda asked: raw


def error_body(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
