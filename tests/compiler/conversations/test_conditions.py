"""Conditions are understood at once, or refused where they are written, with a remedy."""

from __future__ import annotations

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic, Severity
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.conditions import ConditionPlan
from synth.compiler.plan.steps import StepPlan

HEAD = """edition 1
recipe conditions { seed = 1 }
model base: model<chat, json> from simulated()
param long: boolean = true
let few = [2, 4]
schema Trade { about: text, hard: boolean, near: text?, level: count(1..5), tags: list<text> }
set trades: Trade {
  law { about = "courts", hard = true, near = "tax", level = 5, tags = [] }
  sea { about = "ports", hard = false, level = 2, tags = [] }
  art { about = "paint", hard = true, level = 3, tags = [] }
}
schema Sub { deep: boolean }
schema Verdict { clear: boolean, about: enum<price, place, other>, mark: number(0..1), why: text?, sub: Sub }
"""
BEFORE = """conversation talks times 12 {
  draw trade from trades
  draw words from [2, 4, 6]
  draw mood from ["calm", "hurried"]
  turn ask: user = "What of {{ trade.about }}, {{ words }}, {{ mood }}?"
  turn reply: model by base { sees = transcript }
  step verdict: json<Verdict> by base { prompt = "{{ reply }}" }
"""


def faults(body: str) -> list[Diagnostic]:
    try:
        compile_text(f"{HEAD}{BEFORE}{body}\n}}\n")
    except RecipeError as error:
        return [diagnostic for diagnostic in error.diagnostics if diagnostic.severity is Severity.ERROR]
    return []


def step(conditions: str, name: str = "extra", prompt: str = "x") -> str:
    return f'step {name}: text by base {conditions} {{ prompt = "{prompt}" }}\n'


def bound(body: str, name: str = "extra") -> StepPlan:
    return compile_text(f"{HEAD}{BEFORE}{body}\n}}\n").plan.cohort("talks").step(name)


@pytest.mark.parametrize(
    ("written", "plan", "needs"),
    [
        ("when trade.hard", ConditionPlan(path=("trade", "hard")), ()),
        ("unless trade.near", ConditionPlan(path=("trade", "near"), negated=True), ()),
        ("when trade in [law, art]", ConditionPlan(path=("trade", "name"), values=("law", "art")), ()),
        ("when trade.name in [law]", ConditionPlan(path=("trade", "name"), values=("law",)), ()),
        ("when words in [2, 6]", ConditionPlan(path=("words",), values=(2, 6)), ()),
        ("when words in few", ConditionPlan(path=("words",), values=(2, 4)), ()),
        ("when words in 3..", ConditionPlan(path=("words",), range=(3, None)), ()),
        ('when mood in ["calm"]', ConditionPlan(path=("mood",), values=("calm",)), ()),
        ("when nth in ..3", ConditionPlan(path=("nth",), range=(None, 3)), ()),
        ("when verdict.clear", ConditionPlan(path=("verdict", "clear")), ("verdict",)),
        ("when verdict.sub.deep", ConditionPlan(path=("verdict", "sub", "deep")), ("verdict",)),
        (
            "unless verdict.about in [price]",
            ConditionPlan(path=("verdict", "about"), negated=True, values=("price",)),
            ("verdict",),
        ),
        (
            "when verdict.mark in 0.5..",
            ConditionPlan(path=("verdict", "mark"), range=(0.5, None)),
            ("verdict",),
        ),
        ("when verdict.why", ConditionPlan(path=("verdict", "why")), ("verdict",)),
    ],
)
def test_a_condition_becomes_part_of_the_plan(
    written: str, plan: ConditionPlan, needs: tuple[str, ...]
) -> None:
    bound_step = bound(step(written))
    assert (bound_step.when, bound_step.needs) == ((plan,), needs)


def test_a_plan_without_conditions_says_nothing_of_them() -> None:
    plan = compile_text(f"{HEAD}{BEFORE}}}\n").plan
    assert "when" not in str(plan.model_dump(exclude_defaults=True))


@pytest.mark.parametrize(
    ("written", "code", "message", "hint"),
    [
        ("when hard", "E101", "`hard` is not defined here", ""),
        ("when trade.hards", "E102", "`trade` has no `hards`", "did you mean `hard`?"),
        ("when later", "E110", "`later` is made after `extra` is written", "only earlier ones"),
        ("when extra", "E110", "`extra` cannot be quoted in itself", ""),
        ("when long", "E202", "`long` is the same in every sample", "what is drawn"),
        ("when trade", "E202", "`trade` is a Trade, and always there", "`when trade in [...]`"),
        (
            "when trade.about",
            "E202",
            "`trade.about` is text, and always there",
            "`when trade.about in [...]`",
        ),
        ("when ask", "E202", "`ask` is text, and always there", ""),
        (
            "when trade in [lawn]",
            "E202",
            "`trade` is `law`, `sea` or `art`, not `lawn`",
            "did you mean `law`?",
        ),
        ("when mood in [calm]", "E101", "`calm` is not defined here", ""),
        ('when mood in ["clam"]', "E202", "`mood` is never `clam`", "did you mean `calm`?"),
        ("when words in [3]", "E202", "`words` is never `3`", "it is `2`, `4` or `6`"),
        ("when words in 7..", "E202", "`words` is never in `7..`", "it is `2`, `4` or `6`"),
        ("when words in 6..3", "E202", "no number lies in `6..3`", "the smaller end comes first"),
        ('when words in ["two"]', "E202", '`words` takes a count, and `"two"` is text', ""),
        ("when words in 4", "E202", "`in` takes a list or a range, not `4`", "`in [4]`"),
        ("when mood in 3..", "E202", "`mood` is text, and a range is of numbers", "`in [...]`"),
        ('when trade.tags in ["a"]', "E202", "`trade.tags` is a list<text>, which cannot be compared", ""),
        ("when verdict in [price]", "E202", "`verdict` is a json<Verdict>, which cannot be compared", ""),
        (
            "when verdict.about in [prize]",
            "E202",
            "`verdict.about` is `price`, `place` or `other`, not `prize`",
            "`price`",
        ),
        ("when base", "E201", "`base` is a model", ""),
    ],
)
def test_a_condition_that_cannot_be_decided(written: str, code: str, message: str, hint: str) -> None:
    errors = faults(step(written) + step("when trade.hard", "later"))
    assert len(errors) == 1, errors
    assert errors[0].code == code
    assert message in errors[0].message
    assert hint in errors[0].hint


@pytest.mark.parametrize(
    "statement",
    [
        "draw other from trades when trade.hard",
        "train_on = [reply] when trade.hard",
        'tags = ["x"] unless trade.hard',
    ],
)
def test_what_takes_no_condition(statement: str) -> None:
    assert [fault.code for fault in faults(statement)] == ["E108"]


IMPLIED = [
    ("when trade.hard", "when trade.hard", True),
    ("when trade.hard", "when trade.hard when words in [2]", True),
    ("when trade.hard when words in [2]", "when trade.hard", False),
    ("when trade.hard", "", False),
    ("when trade.hard", "unless trade.hard", False),
    ("when trade in [law, sea]", "when trade in [law]", True),
    ("when trade in [law]", "when trade in [law, sea]", False),
    ("unless trade in [sea]", "when trade in [law, art]", True),
    # What is known of a set's members counts.
    ("when trade.hard", "when trade in [law, art]", True),
    ("when trade.near", "when trade in [law]", True),
    ("when trade.level in 3..", "when trade.hard", True),
    ("when trade.hard", "when trade.level in 3..", True),
    ("when words in 3..", "when words in [4, 6]", True),
    ("when words in 3..", "when words in 4..", True),
    ("when words in 3..", "when words in 2..", False),
    ("unless words in [2]", "when words in 3..", True),
    ("when verdict.mark in 0.5..", "when verdict.mark in 0.75..", True),
    ("when verdict.mark in 0.5..", "when verdict.mark in 0.25..", False),
    ("when verdict.mark in 0.5..", "unless verdict.mark in ..0.5", True),
    ("when verdict.mark in ..0.5", "unless verdict.mark in 0.5..", True),
    ("unless verdict.about in [price]", "when verdict.about in [place, other]", True),
    ("when verdict.about in [place, other]", "unless verdict.about in [price]", True),
    ("when verdict.clear", "when verdict.about in [price]", False),
    ("when trade.hard", "when first", True),
    ("when trade.hard when verdict.why", "when first", True),
]


@pytest.mark.parametrize(("first", "second", "holds"), IMPLIED)
def test_what_stands_under_a_condition_is_quoted_where_that_is_implied(
    first: str, second: str, holds: bool
) -> None:
    body = step(first, "first") + step(second, "extra", "{{ first }}")
    errors = faults(body)
    if holds:
        assert not errors, errors
        return
    assert [error.code for error in errors] == ["E111"]
    assert "`first` is not made in every sample in which `extra` is" in errors[0].message
    assert first in errors[0].hint


@pytest.mark.parametrize(
    "quoting",
    [
        'let other = "{{ first }}"',
        'turn more: user = "{{ first }}"',
        'turn more: user by base { prompt = "x", check { contains(first) }, retry = 1 }',
        'turn more: user by base { prompt = "x", system = "{{ first }}" }',
        step('when first in ["a"]'),
        step("when made.clear"),
        "let other = either(made.why, ask)",
        'let other = "x" when made.clear',
    ],
)
def test_every_way_to_quote_is_held_to_that(quoting: str) -> None:
    made = 'step made: json<Verdict> by base when trade.hard { prompt = "x" }\n'
    errors = faults(made + step("when trade.hard", "first") + quoting)
    assert [error.code for error in errors] == ["E111"], errors


def test_a_preference_is_made_of_what_is_in_every_sample() -> None:
    body = """turn more: user = "More." when trade.hard
    turn closing: model by base when trade.hard { sees = transcript }
    }
    preference pairs from talks {
      turn worse: model by base { prompt = "%s" }
      chosen = talks.%s
      rejected = worse
    """
    assert [fault.code for fault in faults(body % ("{{ talks.closing }}", "reply"))] == ["E111"]
    assert [fault.code for fault in faults(body % ("{{ talks.ask }}", "closing"))] == ["E111"]
    assert not faults(body % ("{{ talks.ask }}", "reply"))
    conditional = body.replace("turn worse: model by base", "turn worse: model by base when hard")
    assert faults(conditional % ("x", "reply"))[0].message == "`turn` takes no condition"


@pytest.mark.parametrize(
    ("lets", "certain"),
    [
        (("when trade.hard", "unless trade.hard"), True),
        (("unless trade.hard", "when trade.hard"), True),
        (("when trade in [law]", "when trade in [sea, art]"), True),
        (("when words in ..2", "when words in [4, 6]"), True),
        (("when words in ..2", "when words in [6]"), False),
        (("when verdict.clear", "unless verdict.clear"), True),
        (("when verdict.about in [price, place]", "when verdict.about in [other]"), True),
        (("when verdict.mark in ..0.5", "when verdict.mark in 0.5.."), True),
        (("when verdict.mark in ..0.4", "when verdict.mark in 0.5.."), False),
        (("when verdict.clear", "when trade.hard"), False),
        (("when trade.hard", "when verdict.clear", "unless verdict.clear"), True),
    ],
)
def test_either_is_certain_where_one_of_its_choices_always_is(lets: tuple[str, ...], certain: bool) -> None:
    body = "".join(f'let l{number} = "text {number}" {when}\n' for number, when in enumerate(lets))
    body += f"let task = either({', '.join(f'l{number}' for number in range(len(lets)))})\n"
    # A condition asks whether something is there, which makes no sense of what always is.
    errors = faults(body + step("when task"))
    assert [error.message for error in errors] == (["`task` is text, and always there"] if certain else [])
    assert not faults(body + step("", "extra", "{{ task }}")), "what may be absent prints as nothing"


def test_under_its_condition_what_is_optional_is_there() -> None:
    one = "let one = either(trade.near, verdict.why)\n"
    assert not faults(one + step("when one"))
    certain = one.replace("\n", " when trade.near\n")
    assert not faults(certain + step("when trade.near", "extra", "{{ one }}"))
    assert [fault.code for fault in faults(certain + step("", "extra", "{{ one }}"))] == ["E111"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("either()", "`either` chooses among two or more"),
        ("either(ask)", "`either` chooses among two or more"),
        ("either(ask, verdict)", "`ask` is text, and `verdict` is a json<Verdict>"),
        ("either(ask, 3)", "`either` takes names and texts"),
        ("either(a = ask, reply)", "`either` takes names and texts"),
        ('either(ask, "{{ reply }}")', "`either` takes no template"),
        ("either(ask, askk)", "`askk` is not defined here"),
        ("eitherr(ask, reply)", "there is no function `eitherr`"),
    ],
)
def test_an_either_that_cannot_be(call: str, message: str) -> None:
    errors = faults(f"let x = {call}")
    assert len(errors) == 1, errors
    assert message in errors[0].message


TURNS = [
    (
        'turn more: user = "m" when trade.hard\nturn end: model by base when trade.hard S',
        None,
    ),
    (
        'turn more: user = "m" when trade.hard\nturn end: model by base when trade in [law, art] S',
        None,
    ),
    (
        'turn more: user = "m" when trade.hard\nturn end: model by base S',
        "`end` follows `reply`, and both are model turns where `more` is left out",
    ),
    (
        'turn more: user = "m"\nturn end: model by base when trade.hard S\nturn last: user = "l"',
        "`last` follows `more`, and both are user turns where `end` is left out",
    ),
    (
        'turn more: user = "m" when trade.hard\nturn end: model by base when words in [2] S',
        "`end` follows `reply`, and both are model turns where `more` is left out",
    ),
    (
        'turn m1: user = "m" when verdict.clear\nturn m2: user = "n" unless verdict.clear\n'
        "turn end: model by base S",
        None,
    ),
    (
        'turn m1: user = "m" when verdict.clear\nturn m2: user = "n" when trade.hard\n'
        "turn end: model by base S",
        "`m2` follows `m1`, and both are user turns",
    ),
]


@pytest.mark.parametrize(("turns", "message"), TURNS)
def test_turns_alternate_however_the_conditions_fall(turns: str, message: str | None) -> None:
    errors = faults(turns.replace("S", "{ sees = transcript }"))
    if message is None:
        assert not errors, errors
    else:
        assert {error.code for error in errors} == {"E502"}
        assert message in [error.message for error in errors]


def test_something_is_trained_on_however_the_conditions_fall() -> None:
    end = 'turn more: user = "m" when trade.hard\n'
    end += "turn end: model by base when trade.hard { sees = transcript }\n"
    (fault,) = faults(f"{end}train_on = [end]")
    assert (fault.code, fault.message) == (
        "E507",
        "nothing is trained on in the samples of `talks` where `end` is left out",
    )
    assert not faults(f"{end}train_on = [reply, end]")
    assert not faults(f"{end}train_on = every(model)")


def test_conditions_with_too_many_ways_to_fall_are_refused() -> None:
    fields = [f"f{number}" for number in range(14)]
    steps = f"schema Many {{ {', '.join(f'{name}: boolean' for name in fields)} }}\n"
    turns = "".join(
        f'turn u{name}: user = "x" when many.{name}\n'
        f"turn m{name}: model by base when many.{name} {{ sees = transcript }}\n"
        for name in fields
    )
    text = f'{HEAD}{steps}{BEFORE}step many: json<Many> by base {{ prompt = "x" }}\n{turns}}}\n'
    with pytest.raises(RecipeError) as caught:
        compile_text(text)
    (fault,) = [
        diagnostic for diagnostic in caught.value.diagnostics if diagnostic.severity is Severity.ERROR
    ]
    assert "can fall in more than 10000 ways" in fault.message


def test_a_composed_turn_is_judged_where_it_is_said() -> None:
    turns = 'turn more: user = "{{ trade.near }}" %s\nturn end: model by base %s { sees = transcript }\n'
    (fault,) = faults(turns % ("", ""))
    assert fault.code == "E506"
    assert not faults(turns % ("when trade.near", "when trade.near"))
    when = "when trade.level in 3.."
    (fault,) = faults(turns % (when, when))
    assert "where `trade` is `art`" in fault.message
