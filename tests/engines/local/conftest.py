"""What the tests of a local engine need before they begin."""

from __future__ import annotations

import pytest

from tests.kit.models.fixtures import needs


@pytest.fixture
def vllm_installed() -> None:
    needs("vllm")
