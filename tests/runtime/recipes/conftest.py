"""What tests of several recipes start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import synth
from tests.runtime.recipes.test_rag import TEACHER, careful, project, served


@pytest.fixture(scope="session")
def rag_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the documents of both RAG recipes, which takes an embedder long to make."""
    folder = project(tmp_path_factory.mktemp("index"))
    with OpenAIServer(answer=careful) as server:
        ran = synth("run", "recipes/rag.recipe", *TEACHER, "--limit", "1", cwd=folder, env=served(server))
    assert ran.status == 0, ran.err
    return folder / "recipes/index"
