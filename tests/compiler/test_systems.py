"""The recipes that are shipped, as plans: seeds, quotas, pairs and mixes."""

from __future__ import annotations

import pytest

from synth.base.errors import ConfigError
from synth.compiler.compile import compile_file, diagnose
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import RefPlan
from synth.compiler.plan.strata import slots
from synth.dsl.read import read
from tests.compiler.systems import PILLARS, RAG, RECIPES, TEACHER, TURNS
from tests.kit.support import ROOT, synth


def test_the_systems_compile_without_a_word() -> None:
    assert compile_file(PILLARS).warnings == ()
    assert compile_file(RAG, TEACHER).warnings == ()
    assert compile_file(TURNS, TEACHER).warnings == ()
    source, faults = read(RECIPES / "lib/house_style.recipe")
    diagnosed = diagnose(source, faults, {})
    assert diagnosed.library
    assert diagnosed.diagnostics.sorted() == ()
    with pytest.raises(ConfigError, match="is a library"):
        compile_file(RECIPES / "lib/house_style.recipe")


def test_the_plans_survive_their_json() -> None:
    plans = [compile_file(PILLARS).plan, *(compile_file(path, TEACHER).plan for path in (RAG, TURNS))]
    for plan in plans:
        again = Plan.from_json(plan.to_json())
        assert again.below(plan.folder) == plan
        assert again.plan_hash == plan.plan_hash


def test_rag_is_the_seeds_grid() -> None:
    plan = compile_file(RAG, TEACHER).plan
    (cohort,) = plan.cohorts
    assert (cohort.quota, cohort.times, len(cohort.axes[0].members)) == (1020, 85, 12)
    tiers: dict[int, dict[str, int]] = {}
    for slot in slots(plan, cohort):
        row = tiers.setdefault(slot.cell.row, {})
        tier = dict(slot.cell.labels)["tier"]
        row[tier] = row.get(tier, 0) + 1
    assert all(row == {"direct": 34, "reasoning": 34, "edge": 17} for row in tiers.values())
    within, evidence, dialogue = cohort.steps
    assert within.value == ("folder = '", RefPlan(path=("category", "name")), "'")
    assert evidence.call is not None
    assert evidence.call.arguments == {
        "source": "docs",
        "query": RefPlan(path=("category", "about")),
        "where": RefPlan(path=("within",)),
        "top_k": 3,
        "documents": RefPlan(path=("technique", "sources")),
        "pick": "varied",
    }
    assert dialogue.needs == ("evidence",)
    assert {check.name: check.arguments for check in dialogue.checks}["turns"] == {
        "count": RefPlan(path=("turns",))
    }
    assert (cohort.transcript, cohort.train_every) == ("dialogue", "model")
    assert (plan.exports[0].thought, plan.exports[0].context) == ("keep", "evidence")
    (docs,) = plan.sources
    assert docs.split is not None
    assert docs.split.arguments == {"max_words": 90, "overlap": 15}
    assert [measure.name for evaluation in plan.evaluations for measure in evaluation.measures] == [
        "tone",
        "refusals",
        "perplexity",
        "refusals",
        "rag_accuracy",
    ]
    out = synth("compile", RAG, "--set", "teacher_revision=x", cwd=ROOT).out
    assert "grounded: 1,020 conversations (12 x 85)" in out
    assert "draw tier: direct 408, reasoning 408, edge 204 (34/34/17 in each category)" in out


def test_rag_turn_by_turn_has_an_asker_a_teacher_and_judged_questions() -> None:
    (cohort,) = compile_file(TURNS, TEACHER).plan.cohorts
    assert (cohort.quota, cohort.times) == (240, 20)
    assert {turn.name: (turn.role, turn.model, turn.thinks) for turn in cohort.turns} == {
        "question": ("user", "asker", False),
        "answer": ("model", "teacher", True),
        "follow_up": ("user", "asker", False),
        "closing": ("model", "teacher", True),
    }
    assert [step.name for step in cohort.asking] == [
        "initial",
        "question",
        "question.approved_by",
        "answer",
        "follow_up",
        "follow_up.approved_by",
        "closing",
    ]
    assert cohort.step("evidence").needs == ("initial",)
    assert cohort.step("question").needs == ("evidence", "initial")
    assert cohort.step("follow_up").judged_by[0].model == "teacher"


def test_pillars_has_its_quotas_pairs_and_mix() -> None:
    plan = compile_file(PILLARS).plan
    assert {c.name: c.quota for c in plan.cohorts} == {
        "identity": 300,
        "commands": 320,
        "json_only": 80,
        "direct": 300,
    }
    (pairs,) = plan.preferences
    assert (pairs.quota, pairs.source, pairs.chosen.name, pairs.rejected.name) == (
        150,
        "direct",
        "turn",
        "step",
    )
    assert pairs.steps[0].must_fail[1].name == "no_words"
    (mix,) = plan.mixes
    assert [(part.name, part.share) for part in mix.parts] == [
        ("synthetic", 500_000),
        ("natural", 300_000),
        ("cognitive", 200_000),
    ]
    answer = plan.cohort("identity").step("answer")
    assert [check.label for check in answer.checks] == [
        "house_style.no_assistant.no_words",
        "house_style.plain.length",
        "house_style.plain.no_words",
        "house_style.plain.no_emoji",
        "house_style.plain.max_repetition",
    ]
    assert "كمساعد ذكي" in str(answer.checks[2].arguments["words"])


def test_an_override_rescales_declared_quotas_and_says_so() -> None:
    compiled = compile_file(PILLARS, {"variations": "10"})
    assert {c.name: c.quota for c in compiled.plan.cohorts}["identity"] == 60
    assert compiled.plan.preferences[0].quota == 30
    assert "`identity`: 300 conversations become 60 with --set variations=10" in compiled.notes
    assert "`corrections`: 150 pairs become 30 with `direct`" in compiled.notes
