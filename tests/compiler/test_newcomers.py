"""A value that is nearly right, and words of other tools: the hint has it as it is written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiler.test_mistakes import HEAD, TURN, chats, reported
from tests.kit.support import QUICKSTART, synth

ANSWER = "  turn answer: model by base {{ sees = transcript, {} }}\n  train_on = [answer]"


@pytest.mark.parametrize(
    ("field", "message", "hint"),
    [
        ('stop = "\\n"', "`stop` takes a list<text>", '`["\\n"]`'),
        ('on_length = "keep"', "`on_length` takes an enum<refuse, keep>", "`keep`"),
        ('temperature = "0.3"', "`temperature` takes a number", "`0.3`"),
        ("temperature = 30%", "`temperature` takes a number", "`0.3`"),
        ('retry = "3"', "`retry` takes a count", "`3`"),
        ("max_tokens = 200.0", "`max_tokens` takes a count", "`200`"),
        ("check { length(900) }", "`length` takes a range", "`..900` is at most so many"),
        ("check { length(\"900\") }", "`length` takes a range", "`..900` is at most so many"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_shown_as_it_is_written(field: str, message: str, hint: str) -> None:
    (fault,) = reported(chats(TURN + ANSWER.format(field)))
    assert fault.code == "E202"
    assert message in fault.message
    assert hint in fault.hint


@pytest.mark.parametrize(
    ("split", "hint"),
    [
        ("0.95", "write `95%`"),
        ("95", "write `95%`"),
        ('"95%"', "write `95%`"),
        ('"0.9"', "write `90%`"),
        ("950", ""),
    ],
)
def test_a_ratio_is_a_percentage(split: str, hint: str) -> None:
    text = chats(TURN + ANSWER.format("retry = 1")).replace(
        '"out/train"', f'"out/train" {{ split = {split} }}'
    )
    (fault,) = reported(text)
    assert (fault.code, fault.hint) == ("E202", hint)


@pytest.mark.parametrize(
    ("form", "hint"),
    [("dpo", "preference"), ("KTO", "unpaired"), ("sft", "prompt_completion"), ("chatml", "messages")],
)
def test_forms_of_rows_are_known_by_their_trainers_names(form: str, hint: str) -> None:
    faults = reported(chats(TURN + ANSWER.format("retry = 1")).replace(": messages", f": {form}"))
    assert f"`{hint}`" in faults[0].hint


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ('ollama("llama3")', 'write `from openai("llama3")`'),
        ('ollama("llama3")', 'base_url = "http://localhost:11434/v1"'),
        ('anthropic("claude")', "below `[models.base]` in synth.toml"),
        ('huggingface("org/name")', "it is called `transformers`"),
        ('google("gemini")', "it is called `gemini`"),
        ("mock()", "it is called `simulated`"),
    ],
)
def test_where_models_run_elsewhere_has_a_name_here(written: str, hint: str) -> None:
    faults = reported(chats(TURN).replace('openai("gpt-4o")', written))
    assert faults[0].code == "E203"
    assert hint in faults[0].hint


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("times x2", "write `2`"),
        ("times x 2", "how many stands after `times`: `conversation chats times 2`"),
        ("x2", "how many stands after `times`: `conversation chats times 2`"),
        ("x 2", "how many stands after `times`: `conversation chats times 10`"),
        ("* 2", "how many stands after `times`: `conversation chats times 10`"),
    ],
)
def test_how_many_is_said_after_times(written: str, hint: str) -> None:
    assert reported(chats(TURN).replace("chats times 6", f"chats {written}"))[0].hint == hint


@pytest.mark.parametrize(
    "line", ['import "lib.recipe"', "import lib", 'include "lib.recipe"', "from lib import x"]
)
def test_what_another_file_declares_is_used(line: str) -> None:
    hint = reported(f"edition 1\nrecipe x {{ seed = 1 }}\n\n{line}\n")[0].hint
    assert '`use house_style from "lib/house_style.recipe"`' in hint


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ('"gpt-4o"', 'openai("gpt-4o")'),
        ('"google/gemma-3-1b-it"', 'vllm("google/gemma-3-1b-it")'),
        ('gemini("gemini-2.5-flash")', 'gemini("gemini-2.5-flash")'),
    ],
)
def test_a_model_is_declared_before_it_is_named(written: str, place: str) -> None:
    fault = next(
        diagnostic
        for diagnostic in reported(
            chats(TURN + ANSWER.format("retry = 1")).replace("by base", f"by {written}")
        )
        if diagnostic.code == "E202"
    )
    assert fault.hint == f"declare it, as in `model author: model<chat> from {place}`, and write `by author`"


def test_words_between_names_are_those_of_here() -> None:
    drawn = reported(chats(TURN).replace("draw person from", "draw person in"))
    assert "`draw name from names`" in drawn[0].hint
    path = reported(chats(TURN).replace('to "out/train"', "to out/train"))
    assert path[0].hint == 'a path stands in quotes: `to "out/train"`'
    path = reported(chats(TURN).replace('to "out/train"', "to ./out/train"))
    assert 'to "out/train"' in path[0].hint


def test_a_member_that_is_printed_whole_is_told_of_its_fields() -> None:
    text = (
        HEAD
        + "schema command { about: text }\n"
        + "conversation chats times 2 {\n  draw person from people\n"
        + '  turn ask: user = "Go."\n'
        + '  turn answer: model = "{{ person | json }}" { produces: json<command> }\n'
        + '}\nexport train: messages from chats to "out/train"\n'
    )
    (fault,) = reported(text)
    assert fault.code == "E506"
    assert "`{{ person | fields }}` prints the fields that it has" in fault.hint
    assert reported(text.replace("| json }}", "| fields }}")) == []


def test_an_override_is_shown_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(
        "edition 1\nrecipe r { seed = 1 }\nparam part: ratio = 10%\nparam wait: duration = 3s\n"
        "param fine: boolean = true\n"
    )
    for given, meant in (("part=0.4", "part=40%"), ("wait=30", "wait=30s"), ("fine=yes", "fine=true")):
        err = synth("check", "r.recipe", "--set", given, cwd=tmp_path).err
        assert f"for example `--set {meant}`" in err
    assert "refused rather than guessed at" in synth("explain", "E602", cwd=tmp_path).out


def test_the_next_command_has_what_this_one_was_given(tmp_path: Path) -> None:
    (tmp_path / "my recipe.recipe").write_text(QUICKSTART.read_text("utf-8"))
    run = synth(
        "run", "my recipe.recipe", "--simulate", "--set", "conversations=4", "--log", "l.duckdb", cwd=tmp_path
    )
    line = "synth materialize 'my recipe.recipe' --set conversations=4 --log l.duckdb"
    assert run.out.endswith(f"Next: {line}\n")
