"""Fixtures that every part of the suite can ask for, and who runs what where tests run in parallel."""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.kit import support
from tests.kit.fork_server import embedder_server, engine_server, fork_server

pytest_plugins = ["tests.kit.servers.fixtures", "tests.kit.models.fixtures"]

# How long an example takes says what else the machine does.  `make soak` looks at more of them.
settings.register_profile("tests", deadline=None, max_examples=1000 if support.SOAK else 50)
settings.load_profile("tests")

ROOT = Path(__file__).parent.parent
# Fixtures that load a model into the test's process, once a session: all modules that ask for one of
# them run in one worker.
_IN_PROCESS = ("tiny_gemma", "tiny_spec", "vllm_engine", "pocket_home", "tiny_caller")


@cache
def _together(module: str) -> str:
    """What the worker that runs a module is to have made already, or the module."""
    text = (ROOT / module).read_text("utf-8")
    if any(fixture in text for fixture in _IN_PROCESS):
        return "models"
    return "embedder" if "pytest.mark.embeds" in text else module


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_runtest_setup(item: pytest.Item) -> None:
    assert isinstance(item, pytest.Function)
    if not set(_IN_PROCESS).isdisjoint(item.fixturenames):
        support.server = engine_server
    elif item.get_closest_marker("embeds"):
        support.server = embedder_server
    else:
        support.server = fork_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    slow = {_module(item.nodeid) for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> int:
        module = _module(item.nodeid)
        together = _together(module)
        if together != module:
            return ["models", "embedder"].index(together)
        return 2 if module in slow else 3

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What all tests stand on stays: no collection of garbage has to look at it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes a module at a time; those with models are as one, and so are those with an embedder."""
    from xdist.scheduler import LoadScopeScheduling

    scheduling: Any = LoadScopeScheduling(config, log)
    scheduling._split_scope = lambda nodeid: _together(_module(nodeid))
    return scheduling
