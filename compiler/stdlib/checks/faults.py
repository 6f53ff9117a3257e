"""What can be wrong with the arguments of checks beyond their types, told when a recipe is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.display import quoted
from synth.base.suggest import suggest
from synth.compiler.stdlib.checks import language, parsed, script, words


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an argument's value: a message without a full stop, and what to write."""

    value: Any
    message: str
    hint: str = ""


def faulty_word(arguments: Mapping[str, Any]) -> Fault | None:
    word = words.faulty_word(arguments["words"])
    return None if word is None else Fault(word, f"there is nothing to be found in {quoted(word)}")


def faulty_phrase(arguments: Mapping[str, Any]) -> Fault | None:
    phrase = arguments["phrase"]
    return faulty_word({"words": [phrase]}) if isinstance(phrase, str) else None


def faulty_script(arguments: Mapping[str, Any]) -> Fault | None:
    name = script.unknown_script(arguments["words"])
    if name is None:
        return None
    guess = suggest(name, script.COMMON)
    hint = f"did you mean `{guess}`?" if guess else "scripts have Unicode's names, such as `Arabic` or `Han`"
    return Fault(name, f"{quoted(name)} is no script", hint)


def faulty_language(arguments: Mapping[str, Any]) -> Fault | None:
    code = language.unknown_language(arguments["words"])
    if code is None:
        return None
    return Fault(
        code,
        f"{quoted(code)} is no language that can be told",
        "languages are ISO codes, such as `ar` or `en`",
    )


def faulty_dialect(arguments: Mapping[str, Any]) -> Fault | None:
    dialect = arguments.get("dialect")
    if dialect is None:
        return None
    if arguments["language"] != "sql":
        return Fault(dialect, "only SQL has dialects", 'for example `parses_as("sql", dialect = "sqlite")`')
    if dialect in parsed.DIALECTS:
        return None
    guess = suggest(dialect, parsed.DIALECTS)
    hint = f"did you mean `{guess}`?" if guess else "such as `sqlite`, `postgres`, `mysql` or `duckdb`"
    return Fault(dialect, f"{quoted(dialect)} is no dialect that is known", hint)


def faulty_ngram(arguments: Mapping[str, Any]) -> Fault | None:
    if arguments["ngram"] > 0:
        return None
    return Fault(arguments["ngram"], "a run has at least one word", "for example `ngram = 4`")


def without_data(arguments: Mapping[str, Any]) -> Fault | None:
    if "schema" in arguments or "database" in arguments:
        return None
    return Fault(
        None,
        "queries run on a `schema` or a `database`, and neither is given",
        'for example `database = "data/shop.db"`',
    )


def faulty_limits(arguments: Mapping[str, Any]) -> Fault | None:
    seconds, memory = arguments["seconds"], arguments["memory"]
    if not 0 < seconds <= 600:
        return Fault(
            seconds, "code runs for more than 0 and at most 600 seconds", "for example `seconds = 10`"
        )
    if not 64 <= memory <= 65_536:
        return Fault(memory, "code has from 64 to 65,536 MiB of memory", "for example `memory = 512`")
    return None


def faulty_roles(arguments: Mapping[str, Any]) -> Fault | None:
    if arguments["first"] != arguments["second"]:
        return None
    return Fault(arguments["second"], "nobody takes turns alone", "for example `alternates(user, model)`")


def faulty_comparison(arguments: Mapping[str, Any]) -> Fault | None:
    return faulty_ngram(arguments) if "ngram" in arguments else faulty_similarity(arguments)


def faulty_similarity(arguments: Mapping[str, Any]) -> Fault | None:
    if 0 < arguments["similarity"] <= 1:
        return None
    return Fault(
        arguments["similarity"], "a similarity is above 0 and at most 1", "for example `similarity = 0.9`"
    )
