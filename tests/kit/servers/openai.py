"""OpenAI chat completions on the loopback: `python -m tests.kit.servers.openai --port 0`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.kit.servers.answers import tokens
from tests.kit.servers.loopback import Asked, Loopback, Raw, main, retry_headers

CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class OpenAIServer(Loopback):
    """A loopback server that speaks OpenAI chat completions."""

    route = "/v1/chat/completions"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def credential_of(self, request: web.Request) -> str | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        return value if scheme == "Bearer" else None

    def read(self, request: web.Request, body: Mapping[str, Any], key: str) -> Asked:
        form: Mapping[str, Any] = body.get("response_format") or {}
        schema = form.get("json_schema", {}).get("schema")
        if form.get("type") == "json_object":
            schema = {"type": "object"}
        return Asked(
            key=key,
            model=body["model"],
            messages=tuple((message["role"], message["content"]) for message in body["messages"]),
            schema=schema,
            max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
            body=body,
        )

    def completion(self, asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        prompt, written = tokens([said for _, said in asked.messages]), tokens([text])
        return {
            "id": f"chatcmpl-{asked.key[:24]}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": asked.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "length" if cut else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": written,
                "total_tokens": prompt + written,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
            "system_fingerprint": "fp_loopback",
        }

    def error(self, status: int, message: str, *, retry_after: float | None = None) -> Raw:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": CODES.get(status)}}
        headers = retry_headers(retry_after)
        if retry_after is not None:
            headers["retry-after-ms"] = str(round(retry_after * 1000))
        return Raw(body, status, headers)


if __name__ == "__main__":
    main(OpenAIServer)
