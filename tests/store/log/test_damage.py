"""Damaged logs: nothing is lost without a word, no row is wrong, and what holds can be had.

`make damage` does the same to 200 of them.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from tests.store.log.damage import Findings, Truth, check, make


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make(tmp_path_factory.mktemp("truth"), samples=16)


def test_damaged_logs_are_told_of_and_salvaged(truth: Truth, tmp_path: Path) -> None:
    findings = Findings()
    for seed in range(9):
        (folder := tmp_path / str(seed)).mkdir()
        check(truth, seed, folder, findings)
    counts = asdict(findings)
    assert {name: counts[name] for name in ("silent", "wrong", "mute", "short")} == {
        "silent": [],
        "wrong": [],
        "mute": [],
        "short": [],
    }
    assert set(findings.ends) >= {"refused as damaged", "told what is missing"}
    assert findings.salvaged >= 2
    assert findings.kept > 0.5 * findings.of
