"""`parses_as`: what is code by its parser, what is not and why, and which block of a text is meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.checks.parsed import DIALECTS
from tests.kit.support import query, synth

_BLOCK = "Sure:\n\n```python\ndef f():\n    return 1\n```\n\nCall it.\n"


def reason(text: str, language: str, **more: str) -> str | None:
    return run_check("parses_as", {"language": language, **more}, text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def f(a):\n    return a + 1\n"),
        ("python", _BLOCK),
        ("python", "```bash\npip install x\n```\n```py\nf = 1\n```"),
        ("python", "```\nf = 1\n```"),
        ("python", '"""Shows:\n```python\nf(\n```\n"""'),
        ("python", '"\\d"'),
        ("json", '{"a": [1, null]}'),
        ("json", '```json\n{"a": 1}\n```'),
        ("sql", "SELECT a, count(*) FROM b GROUP BY a HAVING count(*) > 1; -- all"),
        ("sql", "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9) SELECT * FROM n"),
        ("sql", "EXPLAIN QUERY PLAN SELECT 1"),
        ("sql", "VALUES (1), (2)"),
        ("sql", "The query:\n```sql\nSELECT 1\n```"),
    ],
)
def test_code_passes(language: str, text: str) -> None:
    assert reason(text, language) is None


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("python", "def f(:\n  pass", "is no Python: invalid syntax at line 1"),
        ("python", "Sure, here it is.", "is no Python: invalid syntax at line 1"),
        ("python", "  \n", "has no Python"),
        ("python", "a\0b", "is no Python: source code string cannot contain null bytes"),
        ("python", "a = '\ud800'", "is no Python: it holds half of a character"),
        ("python", _BLOCK + _BLOCK, "has 2 fenced blocks of Python, and one is asked for"),
        ("python", "So:\n```sql\nSELECT 1\n```", "has no block of Python among its fenced ones"),
        ("python", "So:\n```python\nf = 1\n", "opens a fenced block that it does not close"),
        ("python", "(" * 50_000, "is no Python: too many nested parentheses at line 1"),
        ("python", "-" * 50_000 + "1", "is nested too deeply to be parsed"),
        ("python", "a = 1\n" * 50_000, "has 300,000 characters, and 200,000 are parsed at most"),
        ("json", '{"a": 1, "a": 2}', "has the key `a` twice"),
        ("json", "[" * 1_000_000, "is nested too deeply to be read"),
        ("sql", "SELECT a FROM WHERE b", "is no SQL: "),
        ("sql", "hello world", "is no statement of SQL: "),
        ("sql", "Show me the orders", "is no SQL that is known: "),
        ("sql", "SELECT 'a", "is no SQL: "),
        ("sql", " ; ", "has no SQL"),
        ("sql", "SELECT 1\0", "is no SQL: it holds U+0000"),
        ("sql", "SELECT " + "(" * 9_000, "is nested too deeply to be parsed"),
        ("sql", "SELECT 1" + " + 1" * 5_000, "has 20,008 characters, and 20,000 are parsed at most"),
    ],
)
def test_what_is_no_code_is_refused_with_its_reason(language: str, text: str, said: str) -> None:
    why = reason(text, language)
    assert why is not None
    assert why.startswith(said)
    assert len(why) < 300
    assert "\n" not in why


def test_a_dialect_says_what_is_sql() -> None:
    only_here = "SELECT a FROM b QUALIFY row_number() OVER (ORDER BY a) = 1 SAMPLE 5"
    assert reason("REPLACE INTO a VALUES (1)", "sql", dialect="sqlite") is None
    assert reason("SELECT TOP 5 a FROM b", "sql", dialect="tsql") is None
    assert reason(only_here, "sql", dialect="sqlite") is not None


def test_the_dialects_that_are_named_are_read() -> None:
    for dialect in DIALECTS:
        assert reason("SELECT 1", "sql", dialect=dialect) is None or dialect in ("prql", "dax"), dialect


_RECIPE = """edition 1

recipe r { seed = 1 }

model m: model<chat, json> from simulated()

schema Made { code: text(10..80), note: text }

conversation c times 3 {
  turn ask: user = "Write something."
  step made: json<Made> by m {
    prompt = "{{ ask }} {{ Made | json_schema }}"
    check { parses_as(made.code, "python") }
  }
  turn one: model by m { prompt = "{{ ask }}", check { parses_as("LANGUAGE"OPTION), length(20..90) } }
}

export train: messages from c to "out/train"
"""


@pytest.mark.parametrize("language", ["python", "json", "sql"])
def test_simulated_answers_are_code(tmp_path: Path, language: str) -> None:
    text = _RECIPE.replace("LANGUAGE", language).replace("OPTION", "")
    (tmp_path / "r.recipe").write_text(text)
    done = synth("run", "r.recipe", "--simulate", "--log", "l.duckdb", cwd=tmp_path)
    assert done.status == 0, done.err
    assert query(tmp_path / "l.duckdb", "SELECT count(*) FROM events WHERE kind = 'attempt.rejected'") == [
        (0,)
    ]


@pytest.mark.parametrize(
    ("language", "option", "said"),
    [
        ("ruby", "", "`language` is python or json or sql, not `ruby`"),
        ("python", ', dialect = "sqlite"', "only SQL has dialects"),
        ("sql", ', dialect = "postgresql"', "did you mean `postgres`?"),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path: Path, language: str, option: str, said: str) -> None:
    text = _RECIPE.replace("LANGUAGE", language).replace("OPTION", option)
    (tmp_path / "r.recipe").write_text(text)
    done = synth("check", "r.recipe", cwd=tmp_path)
    assert done.status == 1
    assert said in done.out + done.err


def test_a_parser_that_is_not_installed_is_said_before_anything_is_asked(
    tmp_path: Path, without: Mapping[str, str]
) -> None:
    (tmp_path / "r.recipe").write_text(_RECIPE.replace("LANGUAGE", "sql").replace("OPTION", ""))
    done = synth("run", "r.recipe", "--simulate", cwd=tmp_path, env=without)
    assert done.status == 1
    assert 'the check `parses_as("sql")` needs `sqlglot`, which is not installed' in done.err


@pytest.fixture
def without(tmp_path: Path) -> Mapping[str, str]:
    """An environment in which the parser of SQL cannot be imported."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sqlglot.py").write_text("raise ImportError('hidden')\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "hidden"), str(Path(__file__).parents[2])])}
