"""Fixtures that every part of the suite can ask for, and who runs what where tests run in parallel."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.servers.fixtures", "tests.models.fixtures"]

# Fixtures that load a model into the test's process, once a session: all modules that ask for one of
# them run in one worker.
_IN_PROCESS = {"tiny_gemma", "tiny_spec", "vllm_engine", "pocket_home"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups for `--dist loadgroup`: the engines' tests are one, and begin first since they take
    longest; otherwise a module is."""
    modules = {
        item.nodeid.partition("::")[0]
        for item in items
        if _IN_PROCESS & set(getattr(item, "fixturenames", ()))
    }
    for item in items:
        module = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("engines" if module in modules else module))
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in modules)
