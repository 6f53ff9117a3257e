"""What people write who know other tools, and what it is called here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from synth.base.diagnostics.source import Span
from synth.compiler.bind.expressions.kinds import HOLDERS
from synth.compiler.bind.expressions.scope import Scope
from synth.dsl.syntax import Text

# Words of other tools for what this language has.
_OTHER_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("system_prompt", "system_message", "system_text"), "system"),
    **dict.fromkeys(("instruction", "instructions", "template", "user_prompt", "content", "text"), "prompt"),
    **dict.fromkeys(("max_new_tokens", "max_completion_tokens", "max_output_tokens"), "max_tokens"),
    **dict.fromkeys(
        ("num_generations", "num_return_sequences", "best_of", "best_of_n", "n_candidates", "group_size"),
        "candidates",
    ),
    **dict.fromkeys(("scores", "score", "grade", "rating", "ratings"), "marks"),
    **dict.fromkeys(("llmjudge", "llm_judge", "judge", "scorer", "grader", "criteria"), "rubric"),
    **dict.fromkeys(("select", "selection", "vote", "aggregate", "self_consistency"), "pick"),
    **dict.fromkeys(("critique", "revision", "refine", "feedback", "reflect", "rewrite"), "revise"),
    **dict.fromkeys(("min_margin", "score_margin", "gap"), "margin"),
    **dict.fromkeys(("functions", "tool_list", "available_tools", "toolset"), "tools"),
    **dict.fromkeys(("function", "tool_definition", "action"), "tool"),
    **dict.fromkeys(("max_steps", "max_iterations", "max_tool_rounds", "recursion_limit"), "max_tool_calls"),
    **dict.fromkeys(("retries", "max_retries", "attempts", "tries"), "retry"),
    **dict.fromkeys(("validate", "validators", "filters", "constraints", "rules", "assert"), "check"),
    **dict.fromkeys(("n", "num_samples", "samples", "size", "repeat", "num_conversations"), "times"),
    **dict.fromkeys(("train", "trained", "train_turns", "loss"), "train_on"),
    **dict.fromkeys(("train_split", "test_size", "validation", "eval"), "split"),
    **dict.fromkeys(("output", "path", "dest", "folder", "file"), "to"),
    **dict.fromkeys(("output_schema", "response_format", "schema", "returns"), "produces"),
    **dict.fromkeys(("history", "context_window", "messages"), "sees"),
    **dict.fromkeys(("assistant", "user", "message"), "turn"),
    **dict.fromkeys(("variable", "var", "const", "define"), "let"),
    **dict.fromkeys(("import", "include"), "use"),
    **dict.fromkeys(("dataset", "data", "corpus", "documents"), "source"),
    **dict.fromkeys(("dataset_out", "save", "write"), "export"),
    **dict.fromkeys(("type", "struct", "class", "model_schema"), "schema"),
    **dict.fromkeys(("llm", "engine", "provider"), "model"),
    **dict.fromkeys(("choose", "random", "choice", "sample_from"), "draw"),
    **dict.fromkeys(("dialog", "dialogue", "chat", "task"), "conversation"),
    **dict.fromkeys(("ratio", "weight", "weights", "share"), "mix"),
    **dict.fromkeys(("metrics", "metric", "measure"), "evaluation"),
    **dict.fromkeys(("variables", "parameters", "config", "args"), "param"),
}
_CLAUSES = ("by", "from", "to", "times", "of", "over")
# What is best said of one word in one place.
_SPECIAL: Mapping[tuple[str, str], str] = {
    ("conversation", "system"): "what every turn is told opens the conversation, `turn rules: system = "
    '"You are terse."`; what one is told stands in it: `system = "..."`',
    ("turn", "n"): "several answers of which one is taken are `candidates = 4`",
    ("step", "n"): "several answers of which one is taken are `candidates = 4`",
    ("file", "seed"): "the seed is the recipe's: `recipe name { seed = 1 }`",
}


def is_sure(word: str) -> bool:
    """Whether a word means one thing in other languages, whatever here looks like it."""
    return word in ("import", "include")


def elsewhere(holder: str, word: str) -> str:
    """Where a word that does not belong here does belong, and how it is written there; or `""`."""
    if (holder, word) in _SPECIAL:
        return _SPECIAL[holder, word]
    meant = word if word in _CLAUSES or _holders_of(word) else _OTHER_WORDS.get(word.lower(), "")
    if not meant:
        return ""
    here = HOLDERS[holder].kinds.get(meant)
    if here is not None:
        return f"it is called `{meant}`: `{here.example}`"
    if (holder, meant) in _SPECIAL:
        return _SPECIAL[holder, meant]
    if meant in _CLAUSES:
        own = HOLDERS["file"].kinds.get(holder) or HOLDERS["conversation"].kinds.get(holder)
        if own is None or meant not in own.clauses:
            return ""
        return f"`{meant}` stands before the braces: `{own.example}`"
    holders = _holders_of(meant)
    places = [HOLDERS[name].phrase for name in holders]
    listed = places[0] if len(places) == 1 else f"{', '.join(places[:-1])} or {places[-1]}"
    kind = HOLDERS[holders[0]].kinds[meant]
    return f"`{meant}` stands in {listed}: `{kind.example}`"


def _holders_of(word: str) -> list[str]:
    return [name for name, holder in HOLDERS.items() if word in holder.kinds and name != "library"]


# In templates ---------------------------------------------------------------------------

_SINGLE = re.compile(r"(?<!\{)\$?\{[ \t]*(?P<name>[A-Za-z_]\w*(?:\.\w+)*)[ \t]*\}(?!\})")
_BLOCK = re.compile(r"\{%-?[ \t]*(?P<word>\w+)?[^\n]*?%\}")

_NO_BLOCKS: Mapping[str, str] = {
    "if": "there are no conditions in a text: give each member of a set its own text, and print that, "
    '`{{ person.opening }}`, or put one on a text: `let task = "..." when person.hard`',
    "for": "there are no loops: `| json` prints a list, and `over x in xs` makes samples for each",
    "set": 'a name for a text is a `let` above the turn: `let task = "..."`',
    "include": "a `let` of a library can be printed in any template",
    "raw": 'braces are literal in an `r"""` block',
}

# Filters of other template languages that have one here.
OTHER_FILTERS: Mapping[str, str] = {"tojson": "json", "to_json": "json", "dumps": "json", "cite": "cited"}


def lint_text(text: Text, scope: Scope) -> None:
    """W705, E005: braces that would stay as they are, where something else was meant."""
    if text.quotes.startswith("r"):
        return
    reported: set[str] = set()
    for braces in _SINGLE.finditer(text.span.text):
        name = braces["name"]
        declared = scope.find(name.split(".")[0])
        if declared is None or declared.what == "schema" or name in reported:
            continue
        reported.add(name)
        scope.use(declared.name)
        scope.report(
            "W705",
            f"`{braces[0]}` stays as it stands here",
            _within(text, braces),
            hint=f"what is to be filled in stands between two braces: `{{{{ {name} }}}}`; "
            'an `r"""` block says that braces are meant',
        )
    for block in _blocks(text):
        scope.report(
            "E005",
            f"`{block[0]}` is no reference: a template prints names and does nothing else",
            _within(text, block),
            hint=_NO_BLOCKS.get(block["word"] or "", _NO_BLOCKS["raw"]),
        )


def _blocks(text: Text) -> Iterator[re.Match[str]]:
    """The first statement of each kind; those that end or go on with it say nothing more."""
    reported: set[str] = set()
    for block in _BLOCK.finditer(text.span.text):
        word = block["word"] or ""
        if word.startswith(("end", "el")) or word in reported:
            continue
        reported.add(word)
        yield block


def _within(text: Text, match: re.Match[str]) -> Span:
    start = text.span.start
    return Span(text.span.source, start + match.start(), start + match.end())
