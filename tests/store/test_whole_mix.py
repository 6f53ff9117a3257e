"""Mixes that take all rows of their parts, and parts one after another."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.store.dataset.verify import read_manifest, verify_against_log
from synth.store.log.log import Log
from tests.store.test_mix import by_source, made, plan_of, read, told


@pytest.mark.parametrize("order", [(), ("cognitive", "synthetic", "natural")])
def test_a_mix_without_shares_takes_all(order: tuple[str, ...], tmp_path: Path) -> None:
    plan = plan_of(whole=True, order=order)
    dataset = made(told(plan, 7, 3), plan, tmp_path)
    assert by_source(dataset) == {"identity": 40, "commands": 30, "natural": 7, "map": 3}
    found = [row["source"] for row in read(dataset)]
    if order:
        assert found[:3] == ["map"] * 3
        assert found[-7:] == ["natural"] * 7
        assert set(found[3:-7]) == {"identity", "commands"}
    else:
        # Evenly: each part is as far along as the others.
        assert 1 <= found[:40].count("map") <= 2
    assert [part["share"] for part in dataset.manifest["source"]["parts"]] == ["all"] * 3
    assert dataset.manifest["source"].get("order", []) == list(order)
    with Log(tmp_path / "log.duckdb") as log:
        verify_against_log(dataset.folder, read_manifest(dataset.folder), log, plan)


def test_shares_hold_in_an_order(tmp_path: Path) -> None:
    plan = plan_of(order=("natural", "cognitive", "synthetic"), total=50)
    found = [row["source"] for row in read(made(told(plan), plan, tmp_path))]
    assert found[:15] == ["natural"] * 15
    assert found[15:25] == ["map"] * 10
