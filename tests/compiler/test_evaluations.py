"""Measures that cannot be taken are refused where they are written."""

from __future__ import annotations

import pytest

from synth.base.errors import RecipeError
from synth.compiler.bind.conversations.evaluations import MEASURES
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan

RECIPE = """edition 1
recipe measured { seed = 1 }

model writer: model<chat> from openai("gpt-4o")
model judge: model<chat, json> from openai("gpt-4o")
model local: model<chat, logprobs> from transformers("here")
model mute: model<json, embed> from gemini("gemini-2.5-flash")
rubric good by judge { helpful 1..5 = "Does it help?", kind 1..5 = "Is it kind?" }

source docs: chunk from folder("docs", glob = "*.md")
source natural: messages from jsonl("natural.jsonl")

personas people {
  calm { voice = "calm" }
  loud { voice = "loud" }
}

conversation talks times 10 {
  draw person from people
  turn ask: user = "What, {{ person.voice }}?"
  turn answer: model by writer { prompt = "{{ ask }}" }
}

mix training { all 100% from [talks, natural] }

export train: messages from talks to "out/train"
export mixed: messages from training to "out/mixed"
"""


def compiled(*measures: str, of: str = "train") -> Plan:
    return compile_text(RECIPE + f"\nevaluation quality of {of} {{\n" + "\n".join(measures) + "\n}\n").plan


def faults(*measures: str, of: str = "train") -> list[tuple[str, str, str]]:
    """Code, place and message of each error."""
    with pytest.raises(RecipeError) as caught:
        compiled(*measures, of=of)
    return [
        (diagnostic.code, diagnostic.primary.text if diagnostic.primary else "", diagnostic.message)
        for diagnostic in caught.value.diagnostics
        if diagnostic.code.startswith("E")
    ]


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (
            "perplexity(student = writer, at_most = 9)",
            "`writer` cannot give logprobs, which `perplexity` is made from",
        ),
        ("emoji(student = mute, at_most = 9%)", "`mute` cannot chat"),
        ("rag_accuracy(student = mute, judge = judge, at_least = 9%)", "`mute` cannot chat"),
        ("tone(judge = writer, at_least = 9%)", "`writer` cannot produce json, which a judge's verdict is"),
        (
            "rag_accuracy(student = writer, judge = local, at_least = 9%)",
            "`local` cannot produce json, which a judge's verdict is",
        ),
    ],
)
def test_models_that_cannot_do_what_is_asked(measure: str, message: str) -> None:
    assert faults(measure) == [("E401", measure, message)]


def test_where_a_capability_is_to_be_had() -> None:
    for measure, hint in (
        (
            "tone(judge = writer, at_least = 9%)",
            "openai can: declare `model<chat, json>`, or write `judge = judge`",
        ),
        ("perplexity(student = writer, at_most = 9)", "write `student = local`"),
    ):
        with pytest.raises(RecipeError) as caught:
            compiled(measure)
        assert [diagnostic.hint for diagnostic in caught.value.diagnostics if diagnostic.code == "E401"] == [
            hint
        ]


@pytest.mark.parametrize(
    ("measure", "fault"),
    [
        ("refusals(at_least = 9%)", ("E202", "refusals(at_least = 9%)", "`refusals` needs `phrases`")),
        ('refusals("", at_least = 9%)', ("E202", '""', "there is nothing to be found in ``")),
        ('forbidden_words("AI", " ", at_most = 9%)', ("E202", '" "', "there is nothing to be found in ` `")),
        ("repetition(ngram = 0, at_most = 9%)", ("E202", "0", "a run has at least one word")),
        (
            'rag_accuracy(student = writer, questions = "q", source = docs, top_k = 0, at_least = 9%)',
            ("E202", "0", "questions are answered from at least one passage"),
        ),
        (
            'rag_accuracy(student = writer, questions = "q", at_least = 9%)',
            (
                "E107",
                'rag_accuracy(student = writer, questions = "q", at_least = 9%)',
                "`questions` are answered from passages: `rag_accuracy` needs them and a `source` together",
            ),
        ),
        (
            'rag_accuracy(student = writer, questions = "q", source = natural, at_least = 9%)',
            (
                "E202",
                'rag_accuracy(student = writer, questions = "q", source = natural, at_least = 9%)',
                "questions are answered from chunks, and `natural` gives messages",
            ),
        ),
        (
            "rag_accuracy(student = writer, at_least = 9%)",
            (
                "E107",
                "rag_accuracy(student = writer, at_least = 9%)",
                "`rag_accuracy` needs `questions` with their facts, or a `judge`",
            ),
        ),
        (
            'refusals("no", among = clam, at_least = 9%)',
            ("E102", 'refusals("no", among = clam, at_least = 9%)', "no row is made as `clam`"),
        ),
        ("emoji(student = talks, at_most = 0%)", ("E202", "talks", "`talks` is a conversation, not a model")),
    ],
)
def test_arguments_that_make_no_sense(measure: str, fault: tuple[str, str, str]) -> None:
    assert faults(measure) == [fault]


def test_rows_of_a_mix_were_drawn_from_nothing() -> None:
    assert [code for code, _, _ in faults("tone(at_least = 9%)", of="mixed")] == ["E202"]
    assert [code for code, _, _ in faults('refusals("no", among = calm, at_least = 9%)', of="mixed")] == [
        "E102"
    ]


def test_an_evaluation_measures_something_and_has_a_name_of_its_own() -> None:
    assert faults() == [("E107", "quality", "`quality` measures nothing")]
    twice = "emoji(at_most = 0%)\n}\nevaluation quality of mixed {\nemoji(at_most = 0%)"
    assert faults(twice) == [("E104", "quality", "`quality` is declared twice")]
    assert faults("emoji(at_most = 0%)\n}\nevaluation talks of mixed {\nemoji(at_most = 0%)") == [
        ("E104", "talks", "`talks` is declared twice")
    ]


def test_every_measure_has_an_example_that_compiles() -> None:
    models = {"small": "local", "teacher": "judge", "hard_negative": "calm", "quality": "good"}
    for name, measure in MEASURES.items():
        example = measure.example
        for word, other in models.items():
            example = example.replace(word, other)
        ((measured,),) = (evaluation.measures for evaluation in compiled(example).evaluations)
        assert measured.name == name


def test_a_revision_need_not_be_given_where_it_need_not_be_known() -> None:
    text = RECIPE.replace('transformers("here")', 'transformers("here", revision = pinned)')
    text = text.replace("model writer", "param pinned: text?\n\nmodel writer") + (
        "evaluation quality of train { perplexity(student = local, at_most = 9) }\n"
    )
    assert compile_text(text).plan.model("local").revision is None
    assert compile_text(text, overrides={"pinned": "abc"}).plan.model("local").revision == "abc"
    frozen = text.replace("model<chat, logprobs>", "model<chat, logprobs, frozen>")
    with pytest.raises(RecipeError) as caught:
        compile_text(frozen)
    assert "E402" in {diagnostic.code for diagnostic in caught.value.diagnostics}
