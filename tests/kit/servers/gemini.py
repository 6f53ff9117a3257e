"""Gemini generateContent on the loopback: `python -m tests.kit.servers.gemini --port 0`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.kit.servers.answers import tokens
from tests.kit.servers.loopback import Asked, Loopback, Raw, main, retry_headers

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
STATUSES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


class GeminiServer(Loopback):
    """A loopback server that speaks Gemini generateContent."""

    route = "/{version}/models/{model}:generateContent"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def credential_of(self, request: web.Request) -> str | None:
        return request.headers.get("x-goog-api-key")

    def read(self, request: web.Request, body: Mapping[str, Any], key: str) -> Asked:
        config: Mapping[str, Any] = body.get("generationConfig", {})
        system = body.get("systemInstruction", {}).get("parts", [])
        messages = [("system", part["text"]) for part in system]
        for content in body["contents"]:
            messages += [(content["role"], part["text"]) for part in content["parts"]]
        return Asked(
            key=key,
            model=request.match_info["model"],
            messages=tuple(messages),
            schema=config.get("responseJsonSchema"),
            max_tokens=config.get("maxOutputTokens"),
            body=body,
        )

    def completion(self, asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        prompt, written = tokens([said for _, said in asked.messages]), tokens([text])
        content: dict[str, Any] = {"role": "model"}
        if text:
            content["parts"] = [{"text": text}]
        return {
            "candidates": [{"content": content, "finishReason": "MAX_TOKENS" if cut else "STOP", "index": 0}],
            "usageMetadata": {
                "promptTokenCount": prompt,
                "candidatesTokenCount": written,
                "totalTokenCount": prompt + written,
            },
            "modelVersion": asked.model,
            "responseId": asked.key[:24],
        }

    def error(self, status: int, message: str, *, retry_after: float | None = None) -> Raw:
        details: list[dict[str, Any]] = []
        if status == 401:
            # The service answers a wrong key with 400, not with 401.
            status = 400
            details.append({"@type": ERROR_INFO, "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
        if retry_after is not None:
            details.append({"@type": RETRY_INFO, "retryDelay": f"{retry_after:g}s"})
        error = {"code": status, "message": message, "status": STATUSES[status], "details": details}
        return Raw({"error": error}, status, retry_headers(retry_after))


if __name__ == "__main__":
    main(GeminiServer)
