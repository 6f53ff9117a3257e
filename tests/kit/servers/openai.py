"""OpenAI chat completions on the loopback: `python -m tests.kit.servers.openai --port 0`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.kit.servers.answers import tokens
from tests.kit.servers.loopback import Asked, Loopback, Raw, main, retry_headers
from tests.kit.servers.tools import Calling

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
        messages: list[Mapping[str, Any]] = body["messages"]
        since = _since_the_user(messages)
        names = {call["id"]: call["function"]["name"] for each in since for call in _calls(each)}
        results = [message for message in since if message["role"] == "tool"]
        return Asked(
            key=key,
            model=body["model"],
            messages=tuple((message["role"], message["content"] or "") for message in messages),
            tools=tuple(tool["function"] for tool in body.get("tools", ()) if "function" in tool),
            called=tuple(names.values()),
            results=tuple(message["content"] for message in results),
            fault=_fault(messages),
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

    def calling(self, asked: Asked, given: Calling) -> dict[str, Any]:
        body = self.completion(asked, given.said, cut=given.cut)
        choice = body["choices"][0]
        choice["message"]["content"] = given.said or None
        choice["message"]["tool_calls"] = [
            {
                "id": f"call_{asked.key[:20]}{place}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for place, (name, arguments) in enumerate(given.calls)
        ]
        if given.thought:
            choice["message"]["reasoning_content"] = given.thought
        if not given.cut:
            choice["finish_reason"] = "tool_calls"
        return body

    def error(self, status: int, message: str, *, retry_after: float | None = None) -> Raw:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": CODES.get(status)}}
        headers = retry_headers(retry_after)
        if retry_after is not None:
            headers["retry-after-ms"] = str(round(retry_after * 1000))
        return Raw(body, status, headers)


def _calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(message.get("tool_calls") or ())


def _since_the_user(messages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    spoke = [place for place, message in enumerate(messages) if message["role"] == "user"]
    return messages[spoke[-1] :] if spoke else messages


def _fault(messages: list[Mapping[str, Any]]) -> str | None:
    """What the service says of a conversation whose calls have not all their results behind them."""
    waiting: list[str] = []
    for message in [*messages, {"role": "user"}]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return f"tool_call_ids did not have response messages: {', '.join(waiting)}"
        else:
            waiting = [call["id"] for call in _calls(message)]
    return None


if __name__ == "__main__":
    main(OpenAIServer)
