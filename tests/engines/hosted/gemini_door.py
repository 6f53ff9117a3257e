"""Gemini engines that talk to a loopback server, and what the server answers them."""

from __future__ import annotations

from typing import Any

from synth.runtime.engines.hosted.gemini import GeminiEngine
from tests.kit.servers.asking import spec
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.loopback import Raw


class Door:
    """Makes engines that talk to a server."""

    def __init__(self, server: GeminiServer, **options: Any) -> None:
        self.options = {"base_url": server.base_url, **options}

    def __call__(self) -> GeminiEngine:
        return GeminiEngine(spec("gemini", **self.options))


def response(*parts: Any, finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    """A response body with one candidate of these parts."""
    return {
        "candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 20},
        "modelVersion": "model-x-001",
        **more,
    }


def reply(server: GeminiServer, body: Any, status: int = 200, **headers: str) -> None:
    """From now on the server answers everything with this."""
    raw = Raw(body, status, {name.replace("_", "-"): value for name, value in headers.items()})
    server.answer = lambda asked: raw


def error_body(code: int, status: str, message: str = "no", *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
