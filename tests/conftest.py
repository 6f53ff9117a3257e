"""Fixtures that every part of the suite can ask for, and who runs what where tests run in parallel."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.kit import support

pytest_plugins = ["tests.kit.servers.fixtures", "tests.kit.models.fixtures"]

# How long an example takes says what else the machine does.  `make soak` looks at more of them.
settings.register_profile("tests", deadline=None, max_examples=1000 if support.SOAK else 50)
settings.load_profile("tests")

ROOT = Path(__file__).parent.parent
# Fixtures that load a model into the test's process, once a session: all modules that ask for one of
# them run in one worker.
_IN_PROCESS = ("tiny_gemma", "tiny_spec", "vllm_engine", "pocket_home")


@cache
def _loads_models(module: str) -> bool:
    text = (ROOT / module).read_text("utf-8")
    return any(fixture in text for fixture in _IN_PROCESS)


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_runtest_setup(item: pytest.Item) -> None:
    assert isinstance(item, pytest.Function)
    support.loads_models = not set(_IN_PROCESS).isdisjoint(item.fixturenames)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    items.sort(key=lambda item: not _loads_models(_module(item.nodeid)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes a module at a time; those with models are as one."""
    from xdist.scheduler import LoadScopeScheduling

    def scope(nodeid: str) -> str:
        module = _module(nodeid)
        return "models" if _loads_models(module) else module

    scheduling: Any = LoadScopeScheduling(config, log)
    scheduling._split_scope = scope
    return scheduling
