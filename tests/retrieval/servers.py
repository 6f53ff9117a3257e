"""Embedding services on the loopback, with the vectors of the simulated embedder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.retrieval.helpers import simulated


def vectors(texts: list[str]) -> list[list[float]]:
    return [list(vector) for vector in asyncio.run(simulated().embed(texts, "passage"))]


def in_thread(texts: list[str]) -> list[list[float]]:
    """The vectors, from within a running loop: the embedder's coroutine never waits."""
    work = simulated().embed(texts, "passage")
    try:
        work.send(None)
    except StopIteration as done:
        return [list(vector) for vector in done.value]
    raise RuntimeError("the simulated embedder waited")


def shortened(vector: list[float], size: int | None) -> list[float]:
    """A vector of so many numbers, none of whose parts is lost."""
    return vector if size is None else [sum(vector[place::size]) for place in range(size)]


class OpenAIEmbeddings(OpenAIServer):
    """OpenAI's /embeddings."""

    route = "/v1/embeddings"

    def read(self, request: web.Request, body: Mapping[str, Any], key: str) -> Asked:
        messages = tuple(("input", text) for text in body["input"])
        return Asked(key, body["model"], messages, None, None, body)

    def completion(self, asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        size = asked.body.get("dimensions")
        rows = [
            {"object": "embedding", "index": index, "embedding": shortened(vector, size)}
            for index, vector in enumerate(in_thread([text for _, text in asked.messages]))
        ]
        # The protocol gives an index to each, and no order.
        return {"object": "list", "model": asked.model, "data": rows[::-1], "usage": {"prompt_tokens": 1}}


class GeminiEmbeddings(GeminiServer):
    """Gemini's batchEmbedContents."""

    route = "/{version}/models/{model}:batchEmbedContents"

    def read(self, request: web.Request, body: Mapping[str, Any], key: str) -> Asked:
        texts = [part["text"] for one in body["requests"] for part in one["content"]["parts"]]
        messages = tuple(("input", text) for text in texts)
        return Asked(key, request.match_info["model"], messages, None, None, body)

    def completion(self, asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        vectors = in_thread([text for _, text in asked.messages])
        size = asked.body["requests"][0].get("outputDimensionality")
        return {"embeddings": [{"values": shortened(vector, size)} for vector in vectors]}
