"""Filters: what they match, and that nothing else gets through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.retrieval.errors import BadFilter, RetrievalShort
from synth.runtime.retrieval.index import Index
from synth.runtime.retrieval.where import to_sql
from tests.retrieval.helpers import simulated, source, with_index

KEYS = ("folder", "year", "open", "unit", "it's", "a b")


def refusal(where: str) -> str:
    with pytest.raises(BadFilter) as caught:
        to_sql(where, KEYS, "docs")
    assert "\n" not in str(caught.value)
    return str(caught.value)


FEES = ["biaya/cicilan.md", "biaya/s1.md"]
YEARS = ["asrama/kamar.md", "biaya/cicilan.md"]
REST = ["beasiswa/tahfidz.md", "biaya/s1.md", "umum.md"]


FILTERS = {
    "folder = 'biaya'": FEES,
    "folder='biaya' AND year >= 2024": ["biaya/cicilan.md"],
    "year > 2022.5": YEARS,
    "year = 2024": ["biaya/cicilan.md"],
    "year = '2024'": ["biaya/cicilan.md"],
    "year != 2024": [*YEARS[:1], *REST],
    "not year = 2024": [*YEARS[:1], *REST],
    "year is null": REST,
    "year is not null": YEARS,
    "not (year is null or folder = 'biaya')": ["asrama/kamar.md"],
    "folder > 2": [],
    "open = true": ["asrama/kamar.md"],
    "unit = 'o''brien'": ["umum.md"],
    "folder in ('asrama', 'beasiswa')": ["asrama/kamar.md", "beasiswa/tahfidz.md"],
    "folder not in ('asrama', 'biaya')": ["beasiswa/tahfidz.md", "umum.md"],
    "year in (2023, 1999)": ["asrama/kamar.md"],
    "document like 'biaya/%'": FEES,
    "document not like 'biaya/%' and heading = 'Asrama'": ["asrama/kamar.md"],
    "`folder` = 'biaya' and ordinal = 0 and text like '%cicil%'": ["biaya/cicilan.md"],
    "ordinal < 1 and folder = 'biaya'": FEES,
    "  ": sorted([*FEES, "asrama/kamar.md", "beasiswa/tahfidz.md", "umum.md"]),
}


@pytest.mark.parametrize("search", ["text", "vector", "hybrid"])
def test_a_filter_leaves_what_it_says(university: Path, search: str) -> None:
    async def go(index: Index) -> None:
        await index.ingest()
        for where, wanted in FILTERS.items():
            drawn = await index.sample(len(wanted), where=where)
            assert sorted(passage["document"] for passage in drawn) == sorted(wanted), where
            with pytest.raises(RetrievalShort):
                await index.sample(len(wanted) + 1, where=where)
            if wanted:
                passages = await index.retrieve("biaya kamar kampus", top_k=9, where=where)
                assert sorted(passage["document"] for passage in passages) == sorted(wanted), where

    with_index(university, source(search), go, simulated())


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("folder == 'x'", "cannot be read at `=`"),
        ("foldr = 'x'", "no passage of `docs` has `foldr`: did you mean `folder`?"),
        ("colour = 'x'", "no passage of `docs` has `colour`: filter by `id`, `document`"),
        ("folder = biaya", "cannot be read at `biaya`"),
        ("folder = 'a' or", "cannot be read at its end"),
        ("folder = 'a' folder = 'b'", "cannot be read at `folder`"),
        ("folder = 'a", "cannot be read from"),
        ("folder = 'o'brien'", "cannot be read from"),
        ("folder like 3", "cannot be read at `3`"),
        ("folder not = 'a'", "cannot be read at `=`"),
        ("folder in ()", "cannot be read at `)`"),
        ("true", "cannot be read at `true`"),
        ("1 = 1", "cannot be read at `1`"),
        ("folder = 'a'; drop table docs", "cannot be read from `; drop table docs`"),
        ("folder = 'a' -- x", "cannot be read from"),
        ("length(folder) > 1", "no passage of `docs` has `length`"),
        ("vector is null", "no passage of `docs` has `vector`"),
        ("(" * 100 + "year = 1" + ")" * 100, "is nested too deeply"),
        ("not " * 100 + "year = 1", "is nested too deeply"),
        ("year = 1 or " * 2000 + "year = 1", "has 24008 characters"),
        ("year = 1e400", "cannot be read from"),
    ],
)
def test_what_is_no_filter_is_refused(where: str, reason: str) -> None:
    assert reason in refusal(where)


@given(st.text(max_size=40) | st.text(alphabet="folder='() andort<>!,1\u202e\0\ud800`", max_size=60))
def test_any_text_is_a_filter_or_is_refused(where: str) -> None:
    try:
        sql = to_sql(where, KEYS, "docs")
    except BadFilter as fault:
        sql = f"coalesce({len(str(fault)) < 500})"
    assert sql.startswith(("coalesce(", "NOT ", "(")), sql


VALUES = st.text(alphabet="ab'%_\\\"`;-\u062e\u202e ", max_size=12)


@given(VALUES)
def test_a_text_in_quotes_is_only_compared(value: str) -> None:
    sql = to_sql("folder = '" + value.replace("'", "''") + "'", KEYS, "docs")
    literal = value.replace("'", "''")
    assert sql == f"coalesce(json_get_string(metadata, 'folder') = '{literal}', false)"


def test_keys_of_any_kind_are_quoted() -> None:
    assert "json_get_string(metadata, 'it''s')" in to_sql("`it's` = 'x'", KEYS, "docs")
    assert "json_get_string(metadata, 'a b')" in to_sql("`a b` is null", KEYS, "docs")


def test_hostile_literals_do_no_harm(university: Path) -> None:
    async def go(index: Index) -> list[Any]:
        await index.ingest()
        hostile = ["\0", "\ud800", "\u202e", "\\'", "%' OR '1'='1", "a" * 3000, "\n"]
        outcomes: list[Any] = []
        for value in hostile:
            where = "folder = '" + value.replace("'", "''") + "'"
            try:
                outcomes += await index.sample(1, where=where)
            except Exception as error:
                outcomes.append(type(error).__name__)
        return outcomes

    assert with_index(university, source(), go) == ["RetrievalShort"] * 7
