"""The table of checks: both what the binder knows of their arguments and what the runtime calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.compiler.plan.signature import HOW_MANY, PASSAGES, TEXT_OR_FILE, TEXT_OR_ROLE, Parameter
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.plan.types import (
    CHUNKS,
    COUNT,
    COUNTS,
    MODEL,
    NUMBER,
    PATH,
    RANGE,
    RATIO,
    ROLE,
    TEXT,
    WORD,
    Type,
)
from synth.compiler.stdlib.checks import (
    conversation,
    evidence,
    faults,
    language,
    parsed,
    repetition,
    script,
    text,
    words,
)
from synth.compiler.stdlib.checks.conversation import (
    all_of_it,
    content_of,
    each_message,
    is_conversation,
    role_of,
)
from synth.compiler.stdlib.checks.faults import Fault
from synth.compiler.stdlib.checks.strict_json import json_valid
from synth.compiler.stdlib.checks.verbatim import verbatim
from synth.compiler.stdlib.near_duplicates import likeness


@dataclass(frozen=True, slots=True)
class Check:
    """`function(value, **arguments)` gives a reason for refusing, or None.

    `takes` says of what: `text` (JSON counts as its text), `messages`, either (`any`), a `number`, or
    `calls`, of which it looks at each.
    A check that takes any looks at each message of a conversation, or has its own function for that,
    `of_messages`.  One with `many` has no function: it compares samples with each other and is
    judged in order over the whole cohort (`stdlib/near_duplicates.py`).  Nor has one that only a model can
    judge (`plan/judge_steps.py`), or that runs what was written (`stdlib/running.py`).

    `fault` looks at arguments when a recipe is compiled; `prepare` loads what the function
    needs and raises ConfigError when that is not installed.
    """

    name: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., str | None] | None
    example: str
    takes: str = "text"
    many: bool = False
    of_messages: Callable[..., str | None] | None = None
    fault: Callable[[Mapping[str, Any]], Fault | None] | None = None
    prepare: Callable[[Mapping[str, Any]], object] | None = None


def run_check(name: str, arguments: Mapping[str, Any], value: Any) -> str | None:
    """The reason why a value fails one check, or None.  Checks over many samples pass here, and
    those that only a model can judge.

    A value is a text or JSON.  A list of mappings with `role` and `content` is a conversation;
    other JSON, and a conversation that is given to a check of texts alone, is its canonical text.
    """
    check = CHECKS[name]
    if check.function is None:
        return None
    if check.takes in ("number", "calls"):
        return check.function(value, **arguments)
    if check.takes == "text" or not is_conversation(value):
        if check.takes == "messages":
            return "is no conversation"
        return check.function(value if isinstance(value, str) else canonical_json(value), **arguments)
    if check.takes == "messages":
        return check.function(value, **arguments)
    if check.of_messages is not None:
        return check.of_messages(value, **arguments)
    return each_message(check.function, value, arguments)


def prepare_checks(plans: Iterable[CheckPlan]) -> None:
    """Loads what checks need before any of them runs.  Raises ConfigError for what is not installed."""
    for plan in plans:
        load = None if plan.source else CHECKS[plan.name].prepare
        if load is not None:
            load(plan.arguments)


def group_of(plan: CheckPlan) -> str:
    """The named check that a check belongs to, or its own name."""
    return plan.label.rpartition(".")[0] or plan.name


def _supported(messages: Any, **arguments: Any) -> str | None:
    """What the user asks need not stand anywhere."""
    return each_message(evidence.supported_by, messages, arguments, role="model")


def _nowhere(messages: Any, **arguments: Any) -> str | None:
    """What is not to stand there stands in no call and in no result either."""
    return all_of_it(words.no_words, messages, arguments)


def _contained(messages: Any, **arguments: Any) -> str | None:
    """What is to be said is said in the end."""
    return words.contains(_said(messages, "model")[-1], **arguments)


def _drawn_on(messages: Any, **arguments: Any) -> str | None:
    return evidence.draws_on("\n".join(_said(messages, "model")), **arguments)


def _asked_beyond(messages: Any, **arguments: Any) -> str | None:
    """What is asked last is what cannot be answered."""
    return evidence.asks_beyond(_said(messages, "user")[-1], **arguments)


def _said(messages: Any, role: str) -> list[str]:
    """What the messages of a role say; nothing, where there is none."""
    return [content_of(message) for message in messages if role_of(message) == role] or [""]


def _differs(text: str, other: Any, similarity: float) -> str | None:
    alike = likeness(text, other if isinstance(other, str) else canonical_json(other))
    return None if alike < similarity else f"is {alike:.0%} like what it is to differ from"


def _same(_: object, one: Any, other: Any) -> str | None:
    if canonical_json(one) == canonical_json(other):
        return None
    return f"has {_shown(one)} in one place and {_shown(other)} in the other"


def _marked(value: Any, range: Sequence[float | None]) -> str | None:
    low, high = range
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {_shown(value)}, and a number is asked for"
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    return f"is {value}, and {'' if low is None else low}..{'' if high is None else high} is asked for"


def _no_fault(call: Any) -> str | None:
    """The first line of what the model was told of a call that failed."""
    fault = call.get("fault") if isinstance(call, Mapping) else None
    if fault is None:
        return None
    said = next(iter(str(fault).splitlines()), "").rstrip(". ")
    return f"has a call of {quoted(str(call.get('name')))} that failed: {said[:200]}"


def _shown(value: Any) -> str:
    return quoted(value if isinstance(value, str) else canonical_json(value), 60)


_WORDS = Parameter("words", TEXT, variadic=True)
_EVIDENCE = Parameter("evidence", CHUNKS, varies=True)

CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("length", (Parameter("characters", COUNTS),), text.length, "length(40..400)"),
        Check("sentences", (Parameter("count", COUNTS),), text.sentences, "sentences(1..2)"),
        Check("starts_with", (Parameter("prefix", TEXT),), text.starts_with, 'starts_with("You are")'),
        Check(
            "ends_with",
            (Parameter("suffix", TEXT_OR_ROLE),),
            text.ends_with,
            'ends_with("?")',
            takes="any",
            of_messages=conversation.ends_with_role,
        ),
        Check(
            "opens_with_any",
            (_WORDS,),
            words.opens_with_any,
            'opens_with_any("Yes", "No")',
            fault=faults.faulty_word,
        ),
        Check(
            "no_words",
            (_WORDS,),
            words.no_words,
            'no_words("assistant", "AI")',
            takes="any",
            of_messages=_nowhere,
            fault=faults.faulty_word,
        ),
        Check("no_emoji", (), text.no_emoji, "no_emoji()", takes="any"),
        Check(
            "max_repetition",
            (Parameter("ngram", COUNT, 4), Parameter("share", RATIO, 15)),
            repetition.max_repetition,
            "max_repetition(ngram = 4, share = 15%)",
            takes="any",
            fault=faults.faulty_ngram,
        ),
        Check(
            "script",
            (_WORDS,),
            script.script,
            'script("Arabic", "Latin")',
            takes="any",
            fault=faults.faulty_script,
        ),
        Check(
            "language",
            (_WORDS,),
            language.language,
            'language("ar", "en")',
            takes="any",
            fault=faults.faulty_language,
            prepare=lambda _: language.identifier(),
        ),
        Check("no_bidi_controls", (), text.no_bidi_controls, "no_bidi_controls()", takes="any"),
        Check(
            "distinct",
            (Parameter("similarity", NUMBER, 0.9),),
            None,
            "distinct(similarity = 0.9)",
            takes="any",
            many=True,
            fault=faults.faulty_similarity,
        ),
        Check(
            "turns",
            (Parameter("count", HOW_MANY, varies=True, may_lack=True),),
            conversation.turns,
            "turns(2..12)",
            takes="messages",
        ),
        Check(
            "alternates",
            (Parameter("first", ROLE), Parameter("second", ROLE)),
            conversation.alternates,
            "alternates(user, model)",
            takes="messages",
            fault=faults.faulty_roles,
        ),
        Check(
            "every",
            (Parameter("role", ROLE), Parameter("has", WORD)),
            conversation.every,
            "every(model, has = thought)",
            takes="messages",
        ),
        Check("json_valid", (), json_valid, "json_valid()"),
        Check(
            "parses_as",
            (
                Parameter("language", Type("choice", words=parsed.LANGUAGES)),
                Parameter("dialect", TEXT, optional=True),
            ),
            parsed.parses_as,
            'parses_as("python")',
            fault=faults.faulty_dialect,
            prepare=parsed.prepare,
        ),
        Check(
            "sql_runs",
            (
                Parameter("schema", TEXT_OR_FILE, optional=True, varies=True),
                Parameter("database", PATH, optional=True, varies=True),
                Parameter("rows", HOW_MANY, optional=True, varies=True),
            ),
            None,
            'sql_runs(database = "data/shop.db")',
            fault=faults.without_data,
        ),
        Check(
            "python_runs",
            (
                Parameter("tests", TEXT_OR_FILE, varies=True),
                Parameter("seconds", NUMBER, 10),
                Parameter("memory", COUNT, 512),
            ),
            None,
            'python_runs(tests = "tests/fizz.py")',
            fault=faults.faulty_limits,
        ),
        Check(
            "supported_by",
            (
                _EVIDENCE,
                Parameter("share", RATIO, 60, varies=True, may_lack=True),
                Parameter("judge", MODEL, optional=True),
            ),
            evidence.supported_by,
            "supported_by(evidence, share = 60%)",
            takes="any",
            of_messages=_supported,
        ),
        Check(
            "verbatim",
            (Parameter("passages", PASSAGES, varies=True, may_lack=True),),
            verbatim,
            "verbatim(card.quotes, passage)",
            takes="any",
        ),
        Check(
            "draws_on",
            (_EVIDENCE, Parameter("documents", HOW_MANY, varies=True, may_lack=True)),
            evidence.draws_on,
            "draws_on(evidence, documents = 2..)",
            takes="any",
            of_messages=_drawn_on,
        ),
        Check(
            "asks_beyond",
            (_EVIDENCE, Parameter("share", RATIO, 80, varies=True, may_lack=True)),
            evidence.asks_beyond,
            "asks_beyond(evidence, share = 80%)",
            takes="any",
            of_messages=_asked_beyond,
        ),
        Check(
            "contains",
            (Parameter("phrase", TEXT, varies=True, may_lack=True),),
            words.contains,
            'contains("not found")',
            takes="any",
            of_messages=_contained,
            fault=faults.faulty_phrase,
        ),
        Check(
            "differs_from",
            (Parameter("other", TEXT, varies=True), Parameter("similarity", NUMBER, 0.8)),
            _differs,
            "differs_from(question, similarity = 0.8)",
            fault=faults.faulty_comparison,
        ),
        Check(
            "same",
            (Parameter("one", TEXT, varies=True), Parameter("other", TEXT, varies=True)),
            _same,
            "same(shown, voted)",
            takes="any",
        ),
        Check(
            "marked",
            (Parameter("range", RANGE),),
            _marked,
            "marked(quality.truthful, 4..)",
            takes="number",
        ),
        Check("no_faults", (), _no_fault, "no_faults(reply.calls)", takes="calls"),
        Check(
            "approved_by",
            (
                Parameter("judge", MODEL),
                Parameter("question", TEXT, varies=True, may_lack=True),
                Parameter("evidence", CHUNKS, optional=True, varies=True),
            ),
            None,
            'approved_by(judge, "Can this be answered from the passages?", evidence)',
            takes="any",
        ),
    )
}
