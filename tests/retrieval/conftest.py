"""The fixtures of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.helpers import lay
from tests.retrieval.helpers import UNIVERSITY


@pytest.fixture
def university(tmp_path: Path) -> Path:
    """A project with five short documents."""
    return lay(tmp_path / "project", UNIVERSITY)
