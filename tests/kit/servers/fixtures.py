"""`openai_server` and `gemini_server`: a fresh loopback server for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.openai import OpenAIServer


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def gemini_server() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server
