"""A conversation's `keep`: checks of the finished sample, and what becomes of what fails them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from tests.kit.support import Result, query, rows, synth

LIB = """
def ok(answer: str, mood: str) -> str | None:
    return "is no good" if answer.endswith("three") and mood == "calm" else None


def size(text: str) -> int:
    return len(text)
"""
RECIPE = """edition 1

recipe r { seed = 1 }

use lib from "lib.py"

schema Row { body: text, expected: count?, why: text? }

source items: Row from jsonl("rows.jsonl", id = "id")

conversation c over row in items {
  draw mood from ["calm", "calm"]
  turn ask: user = "{{ row.body }}"
  keep {
    length(ask, 4..), no_words(row.body, "bad"), same(shown, row.expected)
    lib.ok(ask, mood)
    distinct_here
  }
  let shown = lib.size(ask)
  turn answer: model = "{{ row.body }} {{ mood }}"
}

export train: messages from c to "out/train" { columns = [c.row.why] }
export refused: rejected from c to "out/refused"
""".replace("    distinct_here\n", "").replace('["calm", "calm"]', '["calm"]')


def run(folder: Path, name: str, *more: str, status: int = 0) -> Result:
    done = synth(name, *more, "--log", "l.duckdb", cwd=folder)
    assert done.status == status, done.err
    return done


def test_what_fails_is_lost_with_its_reason_and_all_else_stands(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(RECIPE)
    (tmp_path / "lib.py").write_text(LIB)
    items = [
        ("one", 3),
        ("item two", 8),
        ("bad item", 8),
        ("item three", 10),
        ("fourth", 7),
        ("the fifth", None),
    ]
    lines = [{"id": str(at), "body": body, "expected": expected} for at, (body, expected) in enumerate(items)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    told = run(tmp_path, "run", "r.recipe").out
    assert "keep.same 1" in told
    lost = query(
        tmp_path / "l.duckdb",
        "SELECT step, payload ->> 'reason', payload ->> 'lasting' FROM events "
        "WHERE kind = 'sample.abandoned'",
    )
    assert sorted(lost) == [
        ("keep", "length: has 3 characters; at least 4 are asked for", "true"),
        ("keep", "lib.ok: is no good", "true"),
        ("keep", "no_words: holds `bad`", "true"),
        ("keep", "same: has `6` in one place and `7` in the other", "true"),
    ]
    assert "c 2/2 (4 abandoned)" in run(tmp_path, "status").out
    ((name,),) = query(
        tmp_path / "l.duckdb",
        "SELECT sample_id FROM events WHERE kind = 'sample.abandoned' AND payload ->> 'reason' LIKE 'same%'",
    )
    assert "`6` in one place" in run(tmp_path, "show", name).out
    assert "6 samples came out as logged" in run(tmp_path, "replay", "r.recipe").out
    run(tmp_path, "materialize", "r.recipe")
    said = [row["messages"][0]["content"] for row in rows(tmp_path / "out/train/train.jsonl")]
    assert said == ["item two", "the fifth"]

    # What is only exported judges nothing anew, and what a check uses does.
    lines[4]["expected"], lines[1]["why"] = 6, "because"
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    run(tmp_path, "run", "r.recipe")
    run(tmp_path, "materialize", "r.recipe")
    made = rows(tmp_path / "out/train/train.jsonl")
    assert [row["messages"][0]["content"] for row in made] == ["item two", "fourth", "the fifth"]
    assert made[0]["why"] == "because"


@pytest.mark.parametrize(
    ("kept", "code", "message"),
    [
        (
            "marked(a.agreement, 0.4..)",
            "E102",
            "text has no `agreement`",
        ),
        (
            "distinct(a)",
            "E202",
            "`distinct` compares samples with each other, and a `keep` judges each by itself",
        ),
        ("length(4..)", "E202", "`length` does not say what it is of"),
        ("same(a)", "E202", "`same` compares two values of a sample"),
        ("same(a, nothing)", "E101", "`nothing` is not defined here"),
        ("length(nothing, 4..)", "E102", "`c` has no `nothing`"),
        (
            'approved_by(a, m, "Is it?")',
            "E202",
            "`approved_by` asks a model here, which only the `check { }` of a turn or step can",
        ),
    ],
)
def test_what_a_keep_cannot_ask(kept: str, code: str, message: str) -> None:
    recipe = f"""edition 1
recipe r {{ seed = 1 }}
model m: model<chat, json> from simulated()
conversation c times 3 {{
  turn a: user by m {{ prompt = "Ask." }}
  keep {{ {kept} }}
}}
export train: messages from c to "out/train"
"""
    with pytest.raises(RecipeError) as raised:
        compile_text(recipe)
    assert [(each.code, each.message) for each in raised.value.diagnostics if each.code[0] == "E"] == [
        (code, message)
    ]


def test_under_a_count_what_fails_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text("""edition 1
recipe r { seed = 1 }
model m: model<chat> from simulated()
conversation c times 12 {
  turn a: user by m { prompt = "Ask." }
  keep { length(a, ..60), no_words(a, "the") }
}
export train: messages from c to "out/train"
""")
    run(tmp_path, "run", "r.recipe", "--simulate")
    run(tmp_path, "materialize", "r.recipe")
    said = [row["messages"][0]["content"] for row in rows(tmp_path / "out/train/train.jsonl")]
    assert len(said) == 12
    assert max(map(len, said)) <= 60
    assert "came out as logged" in run(tmp_path, "replay", "r.recipe").out


def test_rounds_over_sets_alone_are_whole_and_keep_sees_their_parents(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text("""edition 1
recipe r { seed = 1 }
model m: model<chat> from simulated()
conversation c times 6 {
  draw word from ["alpha", "beta"]
  turn a: user = "{{ word }} {{ nth }}"
  turn b: model by m { sees = transcript }
}
conversation d over parent in c {
  turn again: user = "{{ parent.a }}, again"
  turn more: model by m { sees = transcript }
  keep { no_words(parent.word, "beta") }
}
preference better from c {
  turn worse: model by m { prompt = "Worsen {{ c.b }}" }
  chosen = c.b
  rejected = worse
}
export train: messages from d to "out/train"
export pairs: preference from better to "out/pairs"
""")
    run(tmp_path, "run", "r.recipe", "--simulate")
    assert "0 calls to make" in run(tmp_path, "compile", "r.recipe", "--simulate").out
    run(tmp_path, "materialize", "r.recipe")
    said = [row["messages"][0]["content"] for row in rows(tmp_path / "out/train/train.jsonl")]
    assert len(said) == 3
    assert all(text.startswith("alpha") for text in said)
    assert len(rows(tmp_path / "out/pairs/train.jsonl")) == 6
    assert "came out as logged" in run(tmp_path, "replay", "r.recipe").out


SOURCE_LIB = """
from pathlib import Path

print("imported")


def fits(body: str, expected: int | None) -> str | None:
    Path("{folder}/calls").open("a").write("x")
    if body == "raises":
        raise ValueError("no")
    return "is odd" if expected is not None and expected % 2 else None


def long(messages: list[dict[str, object]]) -> str | None:
    return None if len(messages) > 2 else "is short"
"""
SOURCE_RECIPE = """edition 1

recipe r { seed = 1 }

use lib from "lib.py"

schema Row { body: text, expected: count? }

source items: Row from jsonl("rows.jsonl") {
  keep { length(body, 3..), lib.fits(body, expected), distinct(body) }
}

source chats: messages from jsonl("chats.jsonl") { keep { lib.long } }

conversation c over row in items {
  turn ask: user = "{{ row.body }}"
  turn answer: model = "So: {{ row.body }}"
}

mix both { c from c, chats from chats }

export train: messages from c to "out/train" { columns = [c.row.body] }
export all: messages from both to "out/all"
"""


def test_a_function_keeps_rows_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(SOURCE_RECIPE.replace("lib.long }", "lib.long() }"))
    lib = SOURCE_LIB.replace("{folder}", str(tmp_path))
    (tmp_path / "lib.py").write_text(lib)
    items = [("even", 2), ("odd one", 3), ("none", None), ("raises", 2), ("no", 1), ("even", 4), ("even", 2)]
    given = [{"body": body, **({} if n is None else {"expected": n})} for body, n in items]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    chats = [[{"role": role, "content": f"{role} {n}"} for role in ("user", "assistant") * n] for n in (1, 2)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    calls = tmp_path / "calls"
    run(tmp_path, "run", "r.recipe")
    assert len(calls.read_text()) == 5, (
        "once for each of those that other checks let through, and equals once"
    )
    run(tmp_path, "materialize", "r.recipe")
    there = rows(tmp_path / "out" / "train" / "train.jsonl")
    assert [row["body"] for row in there] == ["even", "none"]
    assert len(rows(tmp_path / "out" / "all" / "train.jsonl")) == 3
    manifest = json.loads((tmp_path / "out" / "train" / "manifest.json").read_text())
    assert manifest["tables"]["items"]["dropped"] == {"length": 1, "lib.fits": 2, "distinct": 2}

    # What is done is not asked again, and no function is needed for what the log has.
    run(tmp_path, "run", "r.recipe")
    assert len(calls.read_text()) == 5
    (tmp_path / "lib.py").unlink()
    for command in (("replay", "r.recipe"), ("verify", "out/train"), ("verify", "out/all")):
        run(tmp_path, *command)

    # Another source is another function, of which nothing is known before a run.
    (tmp_path / "lib.py").write_text(lib.replace("% 2", "% 3 == 0"))
    done = run(tmp_path, "materialize", "r.recipe", status=3)
    assert (
        "the log does not have what `lib.fits` says of the rows of `items`: `synth run` it first" in done.err
    )
    assert run(tmp_path, "compile", "r.recipe").status == 0
    run(tmp_path, "run", "r.recipe")
    run(tmp_path, "materialize", "r.recipe")
    there = rows(tmp_path / "out" / "train" / "train.jsonl")
    assert [row["body"] for row in there] == ["even", "none"]


def test_a_simulation_calls_no_function_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(SOURCE_RECIPE.replace("lib.long }", "lib.long() }"))
    (tmp_path / "lib.py").write_text(SOURCE_LIB.replace("{folder}", str(tmp_path)))
    (tmp_path / "rows.jsonl").write_text('{"body": "raises"}\n{"body": "odd", "expected": 1}\n')
    (tmp_path / "chats.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    )
    run(tmp_path, "run", "r.recipe", "--simulate")
    assert not (tmp_path / "calls").exists()
    run(tmp_path, "materialize", "r.recipe")
    assert len(rows(tmp_path / "out" / "all" / "train.jsonl")) == 3
