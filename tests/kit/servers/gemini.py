"""Gemini generateContent on the loopback: `python -m tests.kit.servers.gemini --port 0`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from aiohttp import web

from tests.kit.servers.answers import tokens
from tests.kit.servers.loopback import Asked, Loopback, Raw, main, retry_headers
from tests.kit.servers.tools import Calling

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
# What stands in place of a signature of calls that the service never gave.
FOREIGN = "skip_thought_signature_validator"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
STATUSES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


class GeminiServer(Loopback):
    """A loopback server that speaks Gemini generateContent."""

    route = "/{version}/models/{model}:generateContent"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Those of the calls that it gave.
        self.signatures: set[str] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def credential_of(self, request: web.Request) -> str | None:
        return request.headers.get("x-goog-api-key")

    def read(self, request: web.Request, body: Mapping[str, Any], key: str) -> Asked:
        config: Mapping[str, Any] = body.get("generationConfig", {})
        system = body.get("systemInstruction", {}).get("parts", [])
        messages = [("system", part["text"]) for part in system]
        contents: list[Mapping[str, Any]] = body["contents"]
        for content in contents:
            messages += [(content["role"], part["text"]) for part in content["parts"] if "text" in part]
        since = _since_the_user(contents)
        return Asked(
            tools=tuple(
                {**declared, "parameters": _schema(declared)}
                for tool in body.get("tools", ())
                for declared in tool.get("functionDeclarations", ())
            ),
            called=tuple(call["name"] for content in since for call in _those(content, "functionCall")),
            results=tuple(
                result["response"] for content in since for result in _those(content, "functionResponse")
            ),
            fault=_unreadable(body) or self._fault(contents),
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

    def calling(self, asked: Asked, given: Calling) -> dict[str, Any]:
        body = self.completion(asked, given.said, cut=given.cut)
        candidate = body["candidates"][0]
        parts = candidate["content"].setdefault("parts", [])
        if given.thought:
            parts.insert(0, {"text": given.thought, "thought": True})
        for name, arguments in given.calls:
            if not isinstance(arguments, str):
                parts.append({"functionCall": {"name": name, "args": arguments}})
            elif not given.cut:
                # Arguments are no text here: what cannot be read, the service itself does not read.
                candidate["finishReason"] = "MALFORMED_FUNCTION_CALL"
                candidate["finishMessage"] = f"Malformed function call: {name}({arguments}"
        calls = [part for part in parts if "functionCall" in part]
        if calls:
            calls[0]["thoughtSignature"] = signature(calls[0]["functionCall"])
            self.signatures.add(calls[0]["thoughtSignature"])
        return body

    def _fault(self, contents: list[Mapping[str, Any]]) -> str | None:
        """What the service says of calls that lack their results, or the signature that it gave them."""
        for content, after in zip(contents, [*contents[1:], {"parts": ()}], strict=True):
            calls = [part for part in content["parts"] if "functionCall" in part]
            called = [part["functionCall"]["name"] for part in calls]
            if called != [result["name"] for result in _those(after, "functionResponse")]:
                return "the number of function response parts is not that of the function call parts"
            if not calls:
                continue
            own = signature(calls[0]["functionCall"])
            if calls[0].get("thoughtSignature") != (own if own in self.signatures else FOREIGN):
                return "Function call is missing a thought_signature in functionCall parts"
        return None

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


def signature(call: Mapping[str, Any]) -> str:
    """What this server gives with the first call of a message, and wants back with it."""
    text = json.dumps([call.get("name"), call.get("args") or {}], sort_keys=True)
    return base64.b64encode(sha256(text.encode()).digest()).decode()


def _unreadable(body: Mapping[str, Any]) -> str | None:
    """What the service says of JSON that its buffers cannot hold."""
    try:
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return "Invalid JSON payload received. Unexpected token."
    return "Message too deep. Max recursion depth reached" if _deep(body, 100) else None


def _deep(value: Any, most: int) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return most == 0 or any(_deep(part, most - 1) for part in parts)


def _schema(declared: Mapping[str, Any]) -> Any:
    """By the name of the protocol's documentation, or that of its buffers, which the client writes."""
    return declared.get("parametersJsonSchema", declared.get("parameters_json_schema"))


def _those(content: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [part[kind] for part in content["parts"] if kind in part]


def _since_the_user(contents: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    spoke = [
        place
        for place, content in enumerate(contents)
        if content["role"] == "user" and not _those(content, "functionResponse")
    ]
    return contents[spoke[-1] :] if spoke else contents


if __name__ == "__main__":
    main(GeminiServer)
