"""Recipes to plans, and what is said about recipes with faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.errors import RecipeError
from synth.compiler.compile import Compiled, compile_file, compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import RefPlan
from tests.kit.support import PERSONA, QUICKSTART, ROOT, environment

PARAMS = {"base_revision": "abc"}


def faults(text: str, overrides: dict[str, str] | None = None) -> tuple[Diagnostic, ...]:
    """What is said about a recipe that must have faults."""
    with pytest.raises(RecipeError) as caught:
        compile_text(text, overrides=overrides or {})
    return caught.value.diagnostics


def persona(*changes: tuple[str, str]) -> str:
    """The persona recipe with one or more edits."""
    text = PERSONA.read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def quoted(diagnostic: Diagnostic) -> str:
    return diagnostic.primary.text if diagnostic.primary else ""


def test_the_persona_plan_is_the_seeds_workflow() -> None:
    plan = compile_file(PERSONA, PARAMS).plan
    (cohort,) = plan.cohorts
    assert (cohort.quota, plan.seed, plan.recipe) == (1000, 11, "persona")
    steps = [(step.name, step.role, step.model, step.sees) for step in cohort.steps]
    assert steps == [
        ("persona", "user", "author", "prompt"),
        ("acknowledgment", "model", "base", "transcript"),
        ("question", "user", "author", "prompt"),
        ("answer", "model", "base", "transcript"),
    ]
    assert [step.needs for step in cohort.steps] == [
        (),
        ("persona",),
        ("persona",),
        ("persona", "acknowledgment", "question"),
    ]
    acknowledgment, answer = cohort.step("acknowledgment"), cohort.step("answer")
    assert (acknowledgment.sampling.max_tokens, answer.sampling.max_tokens) == (60, 500)
    assert acknowledgment.sampling.temperature == answer.sampling.temperature == 0.7
    assert cohort.train_on == ("answer",)
    question = cohort.step("question").prompt
    assert question is not None
    assert RefPlan(path=("persona",)) in question
    assert plan.model("base").revision == "abc"


def test_a_plan_survives_its_json_and_names_itself() -> None:
    plan = compile_file(QUICKSTART).plan
    again = Plan.from_json(plan.to_json())
    assert again.below(plan.folder) == plan
    assert again.plan_hash == plan.plan_hash
    assert compile_file(QUICKSTART, {"conversations": "13"}).plan.plan_hash != plan.plan_hash


def test_the_plan_hash_is_the_same_in_any_process() -> None:
    script = "import synth, sys; print(synth.compile(sys.argv[1]).plan_hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script, str(QUICKSTART)],
            env=environment({"PYTHONHASHSEED": seed}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    }
    assert hashes == {compile_file(QUICKSTART).plan.plan_hash}


def test_a_fingerprint_ignores_what_generates_nothing() -> None:
    def fingerprint(text: str, **params: str) -> str:
        plan = compile_text(text, overrides={**PARAMS, **params}).plan
        return plan.fingerprint(plan.cohorts[0])

    whole = fingerprint(persona())
    assert fingerprint(persona(), conversations="7") == whole
    assert fingerprint(persona(("split = 95%", "split = 50%"))) == whole
    assert fingerprint(persona(("train_on = [answer]", "train_on = [acknowledgment]"))) == whole
    assert fingerprint(persona(("max_tokens = 60", "max_tokens = 61"))) != whole
    assert fingerprint(persona(("seed = 11", "seed = 12"))) != whole


def test_constants_are_folded_into_templates() -> None:
    plan = compile_file(QUICKSTART).plan
    question = plan.cohorts[0].step("question")
    assert question.value == (RefPlan(path=("opening", "words")),)
    text = persona(("Write the question and nothing else.", "Write {{ conversations }} times {{ 3 }}."))
    prompt = compile_text(text, overrides=PARAMS).plan.cohorts[0].step("question").prompt
    assert prompt is not None
    assert isinstance(prompt[-1], str)
    assert prompt[-1].endswith("Write 1000 times 3.")


@pytest.mark.parametrize(
    ("change", "code", "place", "message"),
    [
        (("train_on = [answer]", "train_on = [question]"), "E501", "[question]", "only model turns"),
        (("train_on = [answer]", "train_on = [anwser]"), "E101", "anwser", "no model turn"),
        (("{{ world.about }}", "{{ wrold.about }}"), "E101", "wrold", "`wrold` is not defined here"),
        (("{{ world.about }}", "{{ world.abuot }}"), "E102", "world.abuot", "has no `abuot`"),
        (("{{ world.about }}", "{{ world }}"), "E201", "world", "a template takes text"),
        (("{{ world.about }}", "{{ world.about | jsno }}"), "E203", "jsno", "there is no filter"),
        (("{{ world.about }}", "{{ question }}"), "E110", "question", "is said after `persona`"),
        (("by base {\n    sees", "by bsae {\n    sees"), "E101", "bsae", "not defined"),
        (("length(40..400)", "lenght(40..400)"), "E203", "lenght", "there is no check `lenght`"),
        (("length(40..400)", "length(40%)"), "E202", "40%", "`length` takes a range"),
        (("temperature = 1.0", 'temperature = "hot"'), "E202", '"hot"', "takes a number"),
        (("temperature = 1.0", "temperature = 7.5"), "E202", "7.5", "between 0 and 2"),
        (("temperature = 1.0", "temprature = 1.0"), "E102", "temprature", "a model has no"),
        (("plain 50%", "plain 55%"), "E302", "tempers", "sum to 105%, not 100%"),
        (("plain 50%", "plain"), "E302", "plain", "has no percentage"),
        ((", revision = base_revision", ""), "E402", 'vllm("google/gemma-3-1b-it")', "needs a revision"),
        (("model<chat> from gemini", "model<chat, logprobs> from gemini"), "E401", "logprobs", "cannot give"),
        (('gemini("gemini', 'gemni("gemini'), "E203", 'gemni("gemini-2.5-flash")', "no backend"),
        (
            ("question: user", "question: assistant"),
            "E202",
            "assistant",
            "said by `user`, `model` or `system`",
        ),
        (("turn question: user by author", "turn persona: user by author"), "E104", "persona", "twice"),
        (("draw temper from tempers", "draw temper from author"), "E202", "author", "not a set"),
        (("split = 95%", "split = 100%"), "E302", "100%", "rows on both sides"),
        (('to "out/persona"', 'to "../out"'), "E202", '"../out"', "below the output folder"),
        (("[identity.world, identity.temper]", "[identity.word]"), "E102", "word", "has no `word`"),
        (("export train: prompt_completion", "export train: mesages"), "E202", "mesages", "exported as"),
        (("edition 1", "edition 2"), "E011", "2", "not known"),
        (("edition 1\n", ""), "E010", "", "begins with its edition"),
        (("times conversations", "times lots"), "E101", "lots", "not defined here"),
        (("param base_revision: text", "param base_revision: txet"), "E101", "txet", "no type"),
        (("draw world from worlds", "drwa world from worlds"), "E103", "drwa", "holds no `drwa`"),
        (("times conversations", ""), "E107", "identity", "needs `times`"),
        (("identity times conversations", "identity 70 times conversations"), "E301", "70", "makes 1000"),
        (('plain 50% { voice = "calm and exact" }', "plain 50% { }"), "E204", "plain", "lacks `voice`"),
    ],
)
def test_faults_have_a_code_a_place_and_words(
    change: tuple[str, str], code: str, place: str, message: str
) -> None:
    errors = faults(persona(change), PARAMS)
    mine = [error for error in errors if error.code == code]
    assert mine, [(error.code, error.message) for error in errors]
    if place:
        assert quoted(mine[0]) == place
    assert message in mine[0].message
    assert len(errors) == 1, [(error.code, error.message) for error in errors]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("answer: model by base", "answer: model by author"),
            [("E505", "answer")],
        ),
        (
            ("model<chat, template, frozen>", "model<template, frozen>"),
            [("E401", "base"), ("E401", "base")],
        ),
        (
            ("question: user by author", "question: model by base"),
            [("E502", "model"), ("E502", "model")],
        ),
    ],
)
def test_an_edit_that_breaks_rules_hears_of_each(
    change: tuple[str, str], said: list[tuple[str, str]]
) -> None:
    assert [(fault.code, quoted(fault)) for fault in faults(persona(change), PARAMS)] == said


def test_a_composed_turn_is_not_asked_of_a_model() -> None:
    text = QUICKSTART.read_text("utf-8")
    both = text.replace("turn persona: user =", "turn persona: user by base =")
    (fault,) = faults(both)
    assert (fault.code, fault.message) == ("E108", "`persona` is both composed and written by a model")
    nobody = text.replace('turn question: user = "{{ opening.words }}"', "turn question: user")
    (fault,) = faults(nobody)
    assert (fault.code, fault.message) == ("E107", "nobody writes `question`")


def test_checks_without_retry_are_warned_of() -> None:
    compiled: Compiled = compile_text(persona(("    retry = 3\n", "")), overrides=PARAMS)
    assert [(warning.code, quoted(warning)) for warning in compiled.warnings] == [("W703", "persona")]


def test_several_faults_are_said_at_once() -> None:
    errors = faults(
        persona(
            ("{{ world.about }}", "{{ wrold.about }}"),
            ("plain 50%", "plain 60%"),
            ("train_on = [answer]", "train_on = [persona]"),
            ("split = 95%", "splt = 95%"),
        ),
        PARAMS,
    )
    assert sorted(error.code for error in errors) == ["E101", "E102", "E302", "E501"]


def test_overrides_are_parsed_by_type() -> None:
    plan = compile_file(PERSONA, {"conversations": "1_500", **PARAMS}).plan
    assert plan.cohorts[0].quota == 1500
    for given in ("-1", "1.5", "many", ""):
        (fault,) = faults(persona(), {"conversations": given, **PARAMS})
        assert fault.code == "E602"
    (fault,) = faults(persona())
    assert (fault.code, quoted(fault)) == ("E601", "base_revision")


def test_ten_million_samples_are_a_plan_like_ten(tmp_path: Path) -> None:
    small = compile_file(PERSONA, {"conversations": "10", **PARAMS}).plan.to_json()
    large = compile_file(PERSONA, {"conversations": "10_000_000", **PARAMS}).plan.to_json()
    assert len(large) - len(small) < 100
