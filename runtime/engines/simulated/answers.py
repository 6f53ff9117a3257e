"""Answers made up for simulations: they fit the checks and the schema of a step, from a seed alone.

What is made is looked at with the checks themselves, and made again a few times when one of them
refuses it.  What is to be supported by passages is made of their words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan
from synth.compiler.stdlib.checks import CHECKS, group_of, run_check
from synth.compiler.stdlib.checks.reasons import ends
from synth.compiler.stdlib.verdict import parts_of
from synth.runtime.engines.simulated.quotations import CODE, quote
from synth.runtime.engines.simulated.vocabulary import NUMBERS, WORDS

_TRIES = 8
# An answer that has to fail is left more to chance.
_TRIES_TO_FAIL = 32
# Of these, the last are with words that no language or script refuses.
_PLAIN_TRIES = 2
# One word in each of some scripts.
_STRANGERS = ("winter", "شتاء", "зима", "冬")

# A word without digits, long enough to be looked for.
_LETTERS = re.compile(r"[^\W\d_]{3,}")

Bounds = tuple[int, int]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a step's checks ask for, made once for a step.

    `vocabularies` are the words to choose from, and `grounds` those of passages, where a model's
    words are to be found in some; `phrase` is what it says in the end.  `spoils` are the checks of
    `must_fail` that are known here, by named check: of each, one has to refuse the answer.
    """

    checks: tuple[CheckPlan, ...]
    spoils: tuple[tuple[CheckPlan, ...], ...]
    vocabularies: tuple[tuple[str, ...], ...]
    grounds: tuple[str, ...]
    phrase: str
    prefixes: tuple[str, ...]
    suffix: str
    length: Bounds
    sentences: Bounds
    turns: Bounds | None
    roles: tuple[str, str] | None
    last: str | None
    fields: Mapping[str, frozenset[str]]


def wishes(
    checks: Sequence[CheckPlan], must_fail: Sequence[CheckPlan] = (), room: int | None = None
) -> Wishes:
    """Reads what answers have to be like out of checks.  A text has about `room` characters at most."""
    known = tuple(filter(_is_known, checks))
    given = {check.name: check.arguments for check in known if not check.of}
    prefix, suffix = str(given.get("starts_with", {}).get("prefix", "")), "."
    prefixes: Any = [prefix] if prefix else given.get("opens_with_any", {}).get("words", [])
    last = None
    if "ends_with" in given:
        suffix = str(given["ends_with"]["suffix"])
        last = suffix if suffix in ("user", "model") else None
    if "json_valid" in given:
        prefixes, suffix = ['{"answer":"'], '"}'
    if "parses_as" in given:
        prefix, suffix = CODE[str(given["parses_as"]["language"])]
        prefixes = [prefix]
    roles = given.get("alternates")
    fields: dict[str, frozenset[str]] = {}
    for check in known:
        if check.name == "every":
            role, has = str(check.arguments["role"]), str(check.arguments["has"])
            fields[role] = fields.get(role, frozenset()) | {has}
    by_name = sorted(filter(_is_known, must_fail), key=group_of)
    return Wishes(
        checks=known,
        spoils=tuple(tuple(group) for _, group in groupby(by_name, key=group_of)),
        vocabularies=_vocabularies(known),
        grounds=_grounds(known),
        phrase=str(given.get("contains", {}).get("phrase", "")),
        prefixes=tuple(prefixes),
        suffix=suffix,
        length=_within(_bounds(given.get("length", {}).get("characters"), 40, 160), room),
        sentences=_bounds(given.get("sentences", {}).get("count"), 1, 3),
        turns=_bounds(given["turns"]["count"], 2, 6) if "turns" in given else None,
        roles=(str(roles["first"]), str(roles["second"])) if roles is not None else None,
        last=last,
        fields=fields,
    )


def _within(length: Bounds, room: int | None) -> Bounds:
    low, high = length
    return length if room is None or room >= high else (min(low, room), max(1, room))


def answer(wanted: Wishes, schema: Schema | None, random: Random) -> str:
    """A text, or JSON that fits a schema of the kind `synth.compiler.plan.types.json_schema` makes."""
    value: Any = None
    thinks = schema is not None and JsonOutput(schema_=dict(schema)).thinks
    tries = _TRIES_TO_FAIL if wanted.spoils else _TRIES
    for number in range(tries):
        plain = number >= tries - _PLAIN_TRIES
        words = NUMBERS if plain else random.choice(wanted.vocabularies)
        value = _value(wanted, schema, words, random, loose=bool(wanted.spoils) and number % 2 == 1)
        if not wanted.checks and not wanted.spoils:
            break
        refuses = _refusal(value["content"] if thinks else value)
        if not any(map(refuses, wanted.checks)) and all(any(map(refuses, group)) for group in wanted.spoils):
            break
    return value if isinstance(value, str) else canonical_json(value)


def _value(wanted: Wishes, schema: Schema | None, words: Sequence[str], random: Random, loose: bool) -> Any:
    """One try.  `loose` lets a conversation go as it will, which is how its order is spoiled."""
    spoken = wanted.grounds or words
    if schema is None:
        return _spoiled(_text(wanted, spoken, random), wanted, random)

    def text(low: int, high: int) -> str:
        return _field(wanted, words, random, low, high)

    def said(low: int, high: int) -> str:
        return _field(wanted, spoken, random, low, high, wanted.phrase)

    if not _is_transcript(schema):
        made = _instance(schema, said, random)
        for check in wanted.checks:
            if check.name in ("verbatim", "parses_as") and check.of:
                quote(made, schema, check, random)
        return made
    return _conversation(wanted, schema, {"user": text, "model": said}, random, loose)


def _is_known(check: CheckPlan) -> bool:
    """Whether a check can be asked here: not one over many samples, one that a model judges, nor a Python
    function."""
    return (
        not check.source
        and CHECKS[check.name].function is not None
        and "judge" not in check.arguments
        and not any(isinstance(value, RefPlan) for value in check.arguments.values())
    )


def _refusal(value: Any) -> Callable[[CheckPlan], str | None]:
    def refuses(check: CheckPlan) -> str | None:
        reasons = (run_check(check.name, check.arguments, part) for part in parts_of(value, check.of))
        return next((reason for reason in reasons if reason is not None), None)

    return refuses


def _vocabularies(checks: Sequence[CheckPlan]) -> tuple[tuple[str, ...], ...]:
    """Words of each language that the checks let pass; English where they name none."""
    banned = [check for check in checks if check.name == "no_words"]
    told = [check for check in checks if check.name in ("script", "language")]
    found = []
    for words in WORDS.values() if told else (WORDS["en"],):
        left = tuple(word for word in words if not any(map(_refusal(word), banned)))
        if left and not any(map(_refusal(" ".join(left)), told)):
            found.append(left)
    return tuple(found) or (NUMBERS,)


def _grounds(checks: Sequence[CheckPlan]) -> tuple[str, ...]:
    """The words of the passages that answers are to be found in."""
    found: dict[str, None] = {}
    for check in checks:
        if check.name in ("supported_by", "draws_on"):
            evidence: Any = check.arguments["evidence"]
            for chunk in evidence:
                found.update(dict.fromkeys(_LETTERS.findall(chunk["text"])))
    return tuple(found)


# Texts ----------------------------------------------------------------------------------


def _text(wanted: Wishes, words: Sequence[str], random: Random) -> str:
    """Sentences of plain words within the bounds that the checks set."""
    prefix = random.choice(wanted.prefixes) if wanted.prefixes else ""
    suffix = f" {wanted.phrase}{wanted.suffix}" if wanted.phrase else wanted.suffix
    (low, high), (fewest, most) = wanted.length, wanted.sentences
    target = max(low, min(high, low + round((high - low) * random.random() * 0.6)))
    count = max(fewest, min(most, 1 + target // 80))
    body = target - len(prefix) - len(suffix)
    sentences = [_sentence(words, random, max(1, body // count)) for _ in range(count)]
    if prefix:
        sentences[0] = f"{prefix} {sentences[0]}"
    else:
        sentences[0] = sentences[0].capitalize()
    text = ". ".join([sentences[0], *(sentence.capitalize() for sentence in sentences[1:])])
    text = text[: max(1, high - len(suffix))].rstrip(" .")
    while len(text) + len(suffix) < low:
        text += f" {random.choice(words)}"[: max(2, high - len(suffix) - len(text))]
    return text + suffix


def _field(
    wanted: Wishes, words: Sequence[str], random: Random, low: int, high: int, phrase: str = ""
) -> str:
    """The text of a field, which ends with a phrase where there is room for one."""
    room = high - len(phrase) - 1 if phrase else high
    if room < max(low, 1):
        phrase, room = "", high
    length = low + (90 if words is wanted.grounds else 30)
    text = _spoiled(_sentence(words, random, max(low, min(room, length)))[:room], wanted, random)[:room]
    return f"{text} {phrase}" if phrase else text


def _sentence(words: Sequence[str], random: Random, length: int) -> str:
    chosen = [random.choice(words)]
    size = len(chosen[0])
    while size + 1 < length:
        chosen.append(random.choice(words))
        size += len(chosen[-1]) + 1
    return " ".join(chosen)


def _bounds(given: Any, low: int, high: int) -> Bounds:
    if given is None:
        return low, high
    first, last = ends(given)
    start = first if first is not None else min(low, last or 0)
    return start, last if last is not None else max(high, start)


# Texts that have to fail ----------------------------------------------------------------


def _spoiled(text: str, wanted: Wishes, random: Random) -> str:
    """The text with what one check of each group refuses, as far as a text can have it."""
    for group in wanted.spoils:
        for check in random.sample(group, len(group)):
            spoil = _SPOILS.get(check.name)
            changed = text if spoil is None else spoil(text, check.arguments, random)
            if CHECKS[check.name].takes != "messages" and _refusal(changed)(check) is not None:
                text = changed
                break
    return text


def _inserted(text: str, what: str, random: Random) -> str:
    """The text with something between two of its words."""
    words = text.split(" ")
    place = random.randint(1, max(1, len(words) - 1))
    return " ".join([*words[:place], what, *words[place:]])


def _repeated(text: str, arguments: Mapping[str, Any], random: Random) -> str:
    words = text.split()
    return " ".join([" ".join(words[: arguments["ngram"] + 1])] * 6 + words)


def _of_other_length(text: str, arguments: Mapping[str, Any], random: Random) -> str:
    low, high = arguments["characters"]
    return text[: low - 1] if high is None else f"{text} " * (high // (len(text) + 1)) + text


def _of_other_count(text: str, arguments: Mapping[str, Any], random: Random) -> str:
    _, high = arguments["count"]
    return text.replace(".", ",") if high is None else " ".join([text, *["So it is."] * (high + 1)])


def _in_another_script(text: str, arguments: Mapping[str, Any], random: Random) -> str:
    strange = [word for word in _STRANGERS if run_check("script", arguments, word)]
    return _inserted(text, random.choice(strange), random) if strange else text


def _in_another_language(text: str, arguments: Mapping[str, Any], random: Random) -> str:
    others = [words for code, words in WORDS.items() if code not in arguments["words"]]
    return _sentence(random.choice(others), random, len(text)) if others else text


_SPOILS: Mapping[str, Callable[[str, Mapping[str, Any], Random], str]] = {
    "no_words": lambda text, given, random: _inserted(text, random.choice(given["words"]), random),
    "no_emoji": lambda text, given, random: _inserted(text, "🙂", random),
    "no_bidi_controls": lambda text, given, random: _inserted(text, "\u202e", random),
    "ends_with": lambda text, given, random: f"{text} {random.choice(_STRANGERS)}",
    "script": _in_another_script,
    "language": _in_another_language,
    "max_repetition": _repeated,
    "length": _of_other_length,
    "sentences": _of_other_count,
}


# JSON -----------------------------------------------------------------------------------


def _instance(schema: Schema, text: Callable[[int, int], str], random: Random) -> Any:
    if "enum" in schema:
        return random.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            return {
                name: _instance(inner, text, random)
                for name, inner in schema["properties"].items()
                if name in required or random.random() < 0.5
            }
        case "array":
            low = schema.get("minItems", 1)
            count = random.randint(low, min(schema.get("maxItems", low + 2), low + 4))
            return [_instance(schema["items"], text, random) for _ in range(count)]
        case "integer":
            low, high = _range(schema)
            return random.randint(low, high)
        case "number":
            low, high = _range(schema)
            return min(max(low, round(low + random.random() * (high - low), 2)), high)
        case "boolean":
            return random.random() < 0.5
    return text(schema.get("minLength", 1), schema.get("maxLength", 60))


def _range(schema: Schema) -> Bounds:
    """The least and the greatest number that a schema takes, within a hundred of each other where
    it does not say."""
    low = schema.get("minimum", min(0, schema.get("maximum", 0)))
    return low, schema.get("maximum", low + 100)


def _is_transcript(schema: Schema) -> bool:
    fields = schema.get("items", {}).get("properties", {})
    return "role" in fields and "content" in fields


def _conversation(
    wanted: Wishes,
    schema: Schema,
    texts: Mapping[str, Callable[[int, int], str]],
    random: Random,
    loose: bool,
) -> list[dict[str, Any]]:
    """Messages whose roles, number and fields are as the checks ask."""
    item = schema["items"]
    low = schema.get("minItems", 1)
    high = max(low, min(schema.get("maxItems", low + 4), low + 4))
    if wanted.turns is not None and not loose:
        low, high = max(low, wanted.turns[0]), min(schema.get("maxItems", wanted.turns[1]), wanted.turns[1])
    order = wanted.roles or ("user", "model")
    lengths = [n for n in range(low, max(low, high) + 1) if _ends_well(n, order, wanted)]
    count = random.choice(lengths or [low])
    roles = [order[place % 2] for place in range(count)]
    if loose:
        roles = [random.choice(order) for _ in range(random.randint(low, max(low, high)))]
    messages = []
    for place, role in enumerate(roles):
        message, text = {}, texts[role]
        asked = wanted.fields.get(role, frozenset())
        for name, inner in item["properties"].items():
            if name == "role":
                message[name] = role
            elif name == "content":
                said = text(inner.get("minLength", 1), inner.get("maxLength", 60))
                if place == len(roles) - 1 and wanted.last is None and wanted.suffix != ".":
                    said = said[: max(0, inner.get("maxLength", 60) - len(wanted.suffix))] + wanted.suffix
                message[name] = said
            elif name in item.get("required", ()) or name in asked or random.random() < 0.5:
                message[name] = _instance(inner, text, random)
        messages.append(message)
    return messages


def _ends_well(count: int, order: tuple[str, str], wanted: Wishes) -> bool:
    """Whether so many messages in turn end with the role asked for and have all roles asked for."""
    if wanted.last is not None and (count == 0 or order[(count - 1) % 2] != wanted.last):
        return False
    return all(role in order[:count] for role in wanted.fields)
