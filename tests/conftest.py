"""Fixtures that every part of the suite can ask for."""

from __future__ import annotations

pytest_plugins = ["tests.servers.fixtures", "tests.models.fixtures"]
