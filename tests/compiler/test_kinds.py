"""Faults in sources, libraries, lets, preferences, mixes and evaluations: each said once, in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_file, compile_text
from tests.compiler.systems import PILLARS, RAG, RECIPES, TEACHER, TURNS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the recipes, to be edited."""
    (tmp_path / "lib").mkdir()
    for path in (*RECIPES.glob("*.recipe"), *RECIPES.glob("lib/*.recipe")):
        (tmp_path / path.relative_to(RECIPES)).write_bytes(path.read_bytes())
    return tmp_path


def faults(path: Path, *changes: tuple[str, str], **params: str) -> list[tuple[str, str, Diagnostic]]:
    """Code and quoted text of what is said about a recipe after edits."""
    text = path.read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text, "utf-8")
    try:
        diagnostics = compile_file(path, params).warnings
    except RecipeError as error:
        diagnostics = error.diagnostics
    return [
        (diagnostic.code, diagnostic.primary.text if diagnostic.primary else "", diagnostic)
        for diagnostic in diagnostics
    ]


def quoted_faults(path: Path, *changes: tuple[str, str], **params: str) -> list[tuple[str, str]]:
    # The recipe is read alone, without the files of its project.
    return [(code, text) for code, text, _ in faults(path, *changes, **params) if code != "W707"]


CHANGES: list[tuple[Path, tuple[str, str], list[tuple[str, str]]]] = [
    (
        PILLARS,
        ('use house_style from "lib/house', 'use house_style from "lib/huose'),
        [("E106", '"lib/huose_style.recipe"')],
    ),
    (PILLARS, ('from "lib/house_style.recipe"', 'from "../../etc/passwd"'), [("E106", '"../../etc/passwd"')]),
    (PILLARS, ("house_style.plain]\n    retry", "house_style.palin]\n    retry"), [("E101", "palin")]),
    (
        PILLARS,
        ("checks = [house_style.plain]\n    check", "checks = [house_style]\n    check"),
        [("E202", "house_style")],
    ),
    (
        PILLARS,
        ("must_fail = [house_style.plain]", "must_fail = house_style.plain"),
        [("E202", "house_style.plain")],
    ),
    (PILLARS, ("from jsonl(natural_chat)", "from jsnol(natural_chat)"), [("E203", "jsnol")]),
    (PILLARS, ("source natural: messages", "source natural: chunk"), [("E202", "chunk")]),
    (PILLARS, ("natural 30% from natural", "natural 35% from natural"), [("E302", "training")]),
    (PILLARS, ("cognitive 20% from map", "cognitive 20% from writer"), [("E202", "writer"), ("W701", "map")]),
    (
        PILLARS,
        ("when_short = fail", "total = 4_000\n  when_short = fail"),
        [("E303", "synthetic 50% from [identity, commands, json_only, direct]")],
    ),
    (PILLARS, ("when_short = fail", "when_short = fial"), [("E202", "fial")]),
    (PILLARS, ("rejected = padded", "rejected = direct.answer"), [("E503", "direct.answer")]),
    (PILLARS, ("chosen = direct.answer", "chosen = direct.ask"), [("E202", "direct.ask")]),
    (PILLARS, ("chosen = direct.answer\n", ""), [("E107", "corrections")]),
    (PILLARS, ("preference corrections 150", "preference corrections 350"), [("E301", "350")]),
    (PILLARS, ("{{ direct.ask }}", "{{ direct.aks }}"), [("E102", "direct.aks")]),
    (
        PILLARS,
        ("export pairs: preference from corrections", "export pairs: preference from direct"),
        [("E202", "direct")],
    ),
    (PILLARS, ("turns(2..12)", "sentences(2..12)"), [("E202", "sentences")]),
    (PILLARS, ("check { length(1..400) }", 'check { no_words("greeting") }'), [("W704", "prompt")]),
    (RAG, ("    sources = 2..", "    sources = 4.."), [("E304", "4..")]),
    (RAG, ("documents = technique.sources", "documents = 4"), [("E304", "4")]),
    (
        RAG,
        ("  draw technique from techniques\n", ""),
        [
            ("E202", "technique"),
            ("E102", "technique"),
            ("E102", 'refusals("not found in UNSIQ documents", among = hard_negative, at_least = 95%)'),
        ],
    ),
    (RAG, ("contains(technique.says)", 'contains(" ")'), [("E202", '" "')]),
    (RAG, ("contains(technique.says)", "contains(technique.sources)"), [("E202", "technique.sources")]),
    (RAG, ("turns(turns)", "turns(tier.evolve)"), [("E202", "tier.evolve")]),
    (RAG, ("query = category.about", "query = technique.says"), [("E202", "technique.says")]),
    (RAG, ("context = grounded.evidence", "context = grounded.evidense"), [("E202", "evidense")]),
    (RAG, ("context = grounded.evidence", "context = grounded.dialogue"), [("E202", "dialogue")]),
    (RAG, ("context = grounded.evidence", "context = evidence"), [("E202", "evidence")]),
    (RAG, ("context = grounded.evidence", "context = other.evidence"), [("E101", "other")]),
    (
        PILLARS,
        ('to "out/pillars_pairs"', 'to "out/pairs" {\n  context = direct.ask\n}'),
        [("E108", "context")],
    ),
    (
        TURNS,
        (
            "  asks_beyond(evidence, share = technique.beyond)",
            "  asks_beyond(initial, share = technique.beyond)",
        ),
        [("E202", "initial")],
    ),
    (
        TURNS,
        ("approved_by(teacher, technique.judged", "approved_by(asker, technique.judged"),
        [("E401", "follow_up")],
    ),
    (
        TURNS,
        ("approved_by(teacher, technique.judged", "approved_by(docs, technique.judged"),
        [("E202", "docs")],
    ),
    (
        TURNS,
        ("approved_by(teacher, technique.judged", "approved_by(teacher, technique.judge"),
        [("E102", "technique.judge")],
    ),
    (
        TURNS,
        ("differs_from(question, similarity = 0.6)", "differs_from(question, similarity = 6)"),
        [("E202", "6")],
    ),
    (RAG, ("{{ evidence | numbered }}", "{{ evidence }}"), [("E201", "evidence")]),
    (RAG, ("{{ evidence | numbered }}", "{{ evidence | numberd }}"), [("E203", "numberd")]),
    (RAG, ("model<chat, json> from vllm", "model<chat> from vllm"), [("E401", "teacher")]),
    (
        RAG,
        ("  role: enum<user, model>\n", ""),
        [("E202", "turns"), ("E205", "dialogue")],
    ),
    (RAG, ("transcript = dialogue", "transcript = evidence"), [("E205", "evidence")]),
    (RAG, ("retrieve(", "retreive("), [("E203", "retreive")]),
    (RAG, ("query = category.about", "query = category.abuot"), [("E102", "category.abuot")]),
    (RAG, ("retrieve(\n    docs", "retrieve(\n    teacher"), [("E202", "teacher")]),
    (RAG, ('search = "hybrid"', 'search = "hybird"'), [("E202", '"hybird"')]),
    (RAG, ("by_heading(max_words", "by_heading(max_wrods"), [("E202", "max_wrods = 90")]),
    (RAG, ("split = by_heading", "split = by_haeding"), [("E203", "by_haeding")]),
    (RAG, ("thought = thoughts", "thought = keeep"), [("E202", "keeep")]),
    (RAG, ("enum<strip, keep, wrap> = keep", "enum<strip, keep> = wrap"), [("E202", "wrap")]),
    (RAG, ("gemma-3-12b-it", "gemma-2-9b-it"), [("E403", "teacher")]),
    (RAG, ("documents = technique.sources", "documents = tier.evolve"), [("E202", "tier.evolve")]),
]


@pytest.mark.parametrize(("recipe", "change", "expected"), CHANGES)
def test_faults_of_the_larger_kinds(
    folder: Path, recipe: Path, change: tuple[str, str], expected: list[tuple[str, str]]
) -> None:
    params: dict[str, Any] = {} if recipe == PILLARS else TEACHER
    reported = quoted_faults(folder / recipe.name, change, **params)
    errors = [fault for fault in expected if not fault[0].startswith("W7") or len(expected) == 1]
    assert reported == errors


def test_libraries_that_use_each_other_are_a_cycle(folder: Path) -> None:
    library = folder / "lib/house_style.recipe"
    library.write_text(
        library.read_text("utf-8").replace(
            "library house_style\n", 'library house_style\nuse other from "other.recipe"\n'
        )
    )
    (folder / "lib/other.recipe").write_text(
        'edition 1\nlibrary other\nuse back from "house_style.recipe"\nlet x = 1\n'
    )
    reported = faults(folder / "pillars.recipe")
    assert [(code, text) for code, text, _ in reported] == [("E105", '"house_style.recipe"')]
    (folder / "lib/other.recipe").write_text('edition 1\nlibrary other\nuse back from "../pillars.recipe"\n')
    assert [code for code, _, _ in faults(folder / "pillars.recipe")] == ["E105"]


def test_faults_in_a_library_are_said_in_its_own_file(folder: Path) -> None:
    library = folder / "lib/house_style.recipe"
    library.write_text(library.read_text("utf-8").replace("no_emoji()", "no_emojis()"))
    (fault,) = faults(folder / "pillars.recipe")
    assert (fault[0], fault[1]) == ("E203", "no_emojis")
    assert fault[2].primary is not None
    assert fault[2].primary.source.name == "lib/house_style.recipe"


def test_names_that_nothing_uses_are_warned_of(folder: Path) -> None:
    text = "param spare: count = 3\n\nmodel idle: model<chat> from pocket()\n\nmodel writer"
    assert quoted_faults(folder / "pillars.recipe", ("model writer", text)) == [
        ("W701", "spare"),
        ("W701", "idle"),
    ]


def test_a_persona_in_a_model_turn_is_warned_of() -> None:
    text = """edition 1
recipe r { seed = 1 }
model m: model<chat> from openai("x")
personas people { calm { voice = "calm" } }
conversation c times 4 {
  draw person from people
  turn ask: user by m { prompt = "Ask, {{ person.voice }}." }
  turn answer: model by m { prompt = "Answer {{ ask }} as {{ person.voice }}." }
}
export e: messages from c to "out/c"
"""
    assert [(w.code, w.primary.text if w.primary else "") for w in compile_text(text).warnings] == [
        ("W702", "answer")
    ]


def test_an_evaluation_is_of_an_export_and_has_bounds() -> None:
    head = """edition 1
recipe r { seed = 1 }
model m: model<chat, logprobs> from vllm("x")
conversation c times 4 {
  turn ask: user by m { prompt = "Ask." }
  turn answer: model by m { prompt = "Answer {{ ask }}." }
}
export e: messages from c to "out/c"
"""
    plan = compile_text(
        head + "evaluation q of e { emoji(at_most = 0%)\n emoji(student = m, at_least = 20%) }\n"
    ).plan
    (evaluation,) = plan.evaluations
    assert [(m.name, m.at_most, m.at_least) for m in evaluation.measures] == [
        ("emoji", 0, None),
        ("emoji", None, 20),
    ]
    for tail, code, text in (
        ("evaluation q of c { emoji(at_most = 0%) }\n", "E202", "c"),
        ("evaluation q of e { emojis(at_most = 0%) }\n", "E203", "emojis"),
        ("evaluation q of e { emoji() }\n", "E202", "emoji()"),
        ("evaluation q of e { perplexity(at_most = 20) }\n", "E202", "perplexity(at_most = 20)"),
        ("evaluation q { emoji(at_most = 0%) }\n", "E107", "q"),
    ):
        with pytest.raises(RecipeError) as caught:
            compile_text(head + tail)
        (fault,) = caught.value.diagnostics
        assert (fault.code, fault.primary.text if fault.primary else "") == (code, text)


def test_tokens_beyond_a_local_models_context(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 128}')
    text = f"""edition 1
recipe r {{ seed = 1 }}
model m: model<chat> from vllm("{tmp_path}") {{ max_tokens = 500 }}
conversation c times 4 {{
  turn ask: user = "Ask."
  turn answer: model by m {{ prompt = "Answer {{{{ ask }}}}." }}
}}
export e: messages from c to "out/c"
"""
    with pytest.raises(RecipeError) as caught:
        compile_text(text)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E405"]


HEAD = """edition 1
recipe r { seed = 1 }
model m: model<chat, json> from openai("x")
"""
TALK = """
conversation c times 3 {
  turn ask: user by m { prompt = "Ask." }
  turn answer: model by m { prompt = "{{ ask }}" }
}
export e: messages from c to "out/c"
"""


def codes(text: str, **params: str) -> list[tuple[str, str]]:
    """Code and quoted text of everything said about a recipe."""
    try:
        diagnostics = compile_text(text, overrides=params).warnings
    except RecipeError as error:
        diagnostics = error.diagnostics
    return [
        (diagnostic.code, diagnostic.primary.text if diagnostic.primary else "") for diagnostic in diagnostics
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A faulty type is reported where it stands and fits everywhere else.
        (HEAD.replace("<chat, json>", "<caht, json>") + TALK, [("E101", "caht")]),
        (
            HEAD + TALK.replace('{{ ask }}" }', '{{ ask }}", produces: json<Fcat> }'),
            [("E101", "Fcat")],
        ),
        (
            HEAD
            + "schema F { claim: txet }\n"
            + TALK.replace('{{ ask }}" }', '{{ ask }}", produces: json<F> }'),
            [("E101", "txet")],
        ),
        # What JSON cannot hold is said before a model is asked for it.
        (
            HEAD
            + "schema F { r: range }\n"
            + TALK.replace('{{ ask }}" }', '{{ ask }}", produces: json<F> }'),
            [("E202", "json<F>")],
        ),
        # A failed declaration hides an outer name, and is not asked for again.
        (
            HEAD
            + 'schema craft { called: text }\nset crafts: craft { a { called = "A" } }\n'
            + TALK.replace("{\n", "{\n  draw craft from carfts\n", 1).replace("Ask.", "{{ craft.called }}"),
            [("E101", "carfts")],
        ),
        (
            HEAD
            + "Message { role: text }\n"
            + TALK.replace('{{ ask }}" }', '{{ ask }}", produces: json<Message> }'),
            [("E103", "Message")],
        ),
        (HEAD + "param size: count 10\n" + TALK.replace("times 3", "times size"), [("E108", "10")]),
        # Ranges that hold nothing.
        (HEAD + TALK.replace('"Ask." }', '"Ask.", retry = 1, check { length(8..2) } }'), [("E202", "8..2")]),
        (HEAD + "schema F { t: text(9..3) }\n" + TALK, [("E202", "9..3")]),
        # Two datasets in one folder.
        (HEAD + TALK + 'export f: messages from c to "out/c"\n', [("E104", "f")]),
        # Recursion through another schema, and a schema named before it is declared.
        (HEAD + "schema A { b: B }\nschema B { a: A? }\n" + TALK, [("E206", "A?")]),
        (
            HEAD
            + "schema A { b: B }\nschema B { t: text }\n"
            + TALK.replace('{{ ask }}" }', '{{ ask }}", produces: json<A> }'),
            [],
        ),
        # A draw that stands below its use.
        (
            HEAD
            + 'set s: topic { a { about = "x" } }\n'
            + TALK.replace("Ask.", "{{ t.about }}").replace('{{ ask }}" }', '{{ ask }}" }\n  draw t from s'),
            [("E110", "t")],
        ),
        (
            HEAD + TALK.replace('{{ ask }}" }', '{{ ask }}" }\n  train_on = every(user)'),
            [("E501", "every(user)")],
        ),
    ],
)
def test_one_fault_is_said_once(text: str, expected: list[tuple[str, str]]) -> None:
    assert codes(text) == expected


def test_values_print_with_their_units_and_absent_ones_as_nothing() -> None:
    text = (
        HEAD
        + "param share: ratio = 40%\nparam wait: duration = 1.5s\nparam motto: text?\n"
        + TALK.replace("Ask.", "[{{ share }}][{{ wait }}][{{ motto }}]")
    )
    prompt = compile_text(text).plan.cohorts[0].step("ask").prompt
    assert prompt == ("[40%][1.5s][]",)
