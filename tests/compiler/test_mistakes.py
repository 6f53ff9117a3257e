"""What newcomers write, and what recipes say without effect: each hears what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import synth as api
from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.errors import ConfigError
from synth.cli import cli
from synth.compiler.compile import diagnose
from synth.dsl.read import read_text
from tests.kit.support import synth

HEAD = """edition 1
recipe mistakes { seed = 1 }
model base: model<chat, json> from openai("gpt-4o")
set people: topic {
  ayu { about = "tides" }
  bima { about = "stars" }
}
"""
EXPORT = 'export train: messages from chats to "out/train"\n'


def reported(text: str) -> list[Diagnostic]:
    source, faults = read_text(text, "mistakes.recipe")
    diagnostics = diagnose(source, faults, {}).diagnostics.sorted()
    return [diagnostic for diagnostic in diagnostics if diagnostic.message != "`base` is never used"]


def chats(body: str, before: str = "") -> str:
    return f"{HEAD}{before}conversation chats times 6 {{\n  draw person from people\n{body}\n}}\n{EXPORT}"


TURN = '  turn ask: user = "What of {{ person.about }}?"\n'


@pytest.mark.parametrize(
    ("body", "code", "message", "hint"),
    [
        (
            'turn ask: user = "Of { person.about }"',
            "W705",
            "`{ person.about }` stays",
            "`{{ person.about }}`",
        ),
        ('turn ask: user = "Of ${person.about}"', "W705", "`${person.about}` stays", "`{{ person.about }}`"),
        (
            'turn ask: user = "{% if person %}Hi{% endif %} {{ person.about }}"',
            "E005",
            "is no reference",
            "no conditions in a text",
        ),
        (
            'turn ask: user = "{%- for x in y %}{{ person.about }}{% endfor %}"',
            "E005",
            "is no reference",
            "no loops",
        ),
        ('turn ask: user = "{{ person.about | upper }}"', "E203", "no filter `upper`", "change no text"),
        ('turn ask: user = "{{ person | tojson }}"', "E203", "no filter `tojson`", "did you mean `json`?"),
        ('turn ask: user by base { prompt: "Ask" }', "E002", "found a text", "after `=`: `prompt = ...`"),
        ("turn ask: user by base {\n temperature: 0.3\n }", "E002", "found `0.3`", "`temperature = 0.3`"),
        ('turn ask: user = "Ask\n    over two lines"', "E001", "ends on its line", 'stands between `"""`'),
        ('turn ask: user = f"Of {person}"', "E002", "found a text", "a text needs no `f` before it"),
        ("turn ask: user = 'Hello'", "E002", "found `'`", "double quotes"),
        ("turn ask: user = “Hello”", "E002", "found `“`", "looks like"),
        ('// why\nturn ask: user = "Hello"', "E002", "found `//`", "a comment begins with `#`"),
        ('turn ask: user by base { prompt = "x"; retry = 2 }', "E002", "found `;`", "a comma stands between"),
        (f'system = "Be kind."\n{TURN}', "E102", "no `system`", "`turn rules: system = "),
        (
            f"temperature = 1\n{TURN}",
            "E102",
            "no `temperature`",
            "stands in a model, a turn, a step or a tool",
        ),
        (f"times = 6\n{TURN}", "E102", "no `times`", "before the braces"),
        (f'message hi: user = "Hello"\n{TURN}', "E103", "no `message`", "it is called `turn`"),
        (
            'turn ask: user by base { instructions = "x" }',
            "E102",
            "no `instructions`",
            "it is called `prompt`",
        ),
        (
            'turn ask: user by base { prompt = "x", train_on = [ask] }',
            "E102",
            "no `train_on`",
            "in a conversation",
        ),
        ('turn ask: assistant = "x"', "E202", "not by `assistant`", "did you mean `model`?"),
        (
            f'{TURN}turn rules: system = "x"',
            "E502",
            "`rules` is the system's turn, and `ask` stands above it",
            "put `rules` first",
        ),
        (
            f'{TURN}turn say: model by base {{ sees = transcript, prompt = "Be brief: {{{{ ask }}}}" }}',
            "E108",
            "its `prompt` would not be shown",
            "say it in `system`",
        ),
        (f"{TURN}turn say: model by base {{ sees = prompt }}", "E107", "written from nothing", "`prompt"),
        (
            f"{TURN}turn say: model by base {{ sees = transcript }}\n"
            "turn on: user by base { sees = transcript }",
            "E404",
            "`on` is a user's turn, and `base` would answer as the model",
            "say in a `prompt` who the user is, and the turns are shown with it",
        ),
        ('turn ask: user by base by base { prompt = "x" }', "E104", "`by` is given twice", "keep one"),
        (
            f"{TURN}turn say: model by base {{ sees = transcript, must_fail = [other], retry = 1 }}",
            "E202",
            "compares samples with each other",
            "checks of one text",
        ),
        ('turn ask: user = "Hello"', "W701", "`person` is drawn and never used", "{{ person }}"),
        (
            f'step plan: text by base {{ prompt = "Plan." }}\n{TURN}',
            "W701",
            "`plan` is written",
            "or drop it",
        ),
        (f'let task = "Be kind."\n{TURN}', "W701", "`task` is made and never used", "{{ task }}"),
    ],
)
def test_a_mistake_hears_what_to_write(body: str, code: str, message: str, hint: str) -> None:
    before = "check other: text { distinct() }\n" if "[other]" in body else ""
    diagnostics = [
        diagnostic
        for diagnostic in reported(chats(body, before))
        if diagnostic.code == code or diagnostic.code[0] == "E"
    ]
    assert [diagnostic.code for diagnostic in diagnostics] == [code], [
        diagnostic.message for diagnostic in diagnostics
    ]
    assert message in diagnostics[0].message
    assert hint in diagnostics[0].hint


SAY = 'turn say: model by base { prompt = "{{ ask }}" }\n'


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            chats(TURN + SAY).replace("train: messages", "train: sharegpt").replace("/train", "/s")[:-1]
            + " { roles = model }\n",
            "E108",
            "call the model `gpt`",
        ),
        (
            chats(TURN + SAY + "train_on = [say, say]"),
            "E104",
            "`say` is listed twice",
        ),
        (
            chats(TURN + SAY) + "preference pairs 50% from chats {\n chosen = chats.say\n"
            ' rejected = attempts(chats.say)\n}\nexport dpo: preference from pairs to "out/dpo"\n',
            "E202",
            "how many pairs there are is a count",
        ),
        (
            chats(
                'let found = retrieve(docs, query = "x")\n'
                f'{TURN}turn say: model by base {{ prompt = "{{{{ ask }}}} {{{{ found | plain }}}}", '
                "check { supported_by(found, share = 70%, judge = base) }, retry = 1 }",
                'source docs: chunk from folder("docs")\n',
            ),
            "E108",
            "a judge compares no words",
        ),
        (
            chats(
                f'let found = retrieve(docs, query = "x")\n{TURN}'
                'turn say: model by base { prompt = "{{ ask }} {{ found | plain }}" }',
                "model vectors: model<embed> from pocket()\n"
                'source docs: chunk from folder("docs") { index = lancedb("i", embedder = vectors) }\n',
            ),
            "E108",
            "`embedder` makes vectors",
        ),
    ],
)
def test_what_is_said_in_vain_is_refused(text: str, code: str, message: str) -> None:
    [diagnostic] = [diagnostic for diagnostic in reported(text) if diagnostic.code[0] == "E"]
    assert diagnostic.code == code
    assert message in diagnostic.message


@pytest.mark.parametrize(
    "body",
    [
        TURN + 'turn say: model = r"""\n    {person} {% if x %}\n    """',
        TURN + 'turn say: model = "{ other } {} { 1 } {{ person.about }}"',
        TURN + "turn say: model by base { sees = transcript }",
        'turn ask: user = "{{ person.about }} \\" {{ nth }}"\nturn say: model = "One \\" two"',
        'let task = "x"\nturn ask: user = "{{ task }} {{ person.about }}"',
    ],
)
def test_what_is_meant_is_let_be(body: str) -> None:
    assert [diagnostic.message for diagnostic in reported(chats(body))] == []


def test_names_that_exports_and_measures_go_by_are_used() -> None:
    body = 'turn ask: user = "Hello"\nturn say: model by base { prompt = "{{ ask }}" }'
    text = chats(body).replace(EXPORT, EXPORT.replace("\n", " { columns = [chats.person] }\n"))
    assert reported(text) == []
    measured = 'evaluation q of train { refusals("no", among = ayu, at_least = 1%) }\n'
    assert reported(chats(body) + measured) == []


def test_a_pair_that_is_made_and_in_no_pair_is_warned_of() -> None:
    text = (
        chats(TURN + 'turn say: model by base { prompt = "{{ ask }}" }')
        + """preference pairs from chats {
  turn worse: model by base { prompt = "Badly: {{ chats.ask }}" }
  turn other: model by base { prompt = "Worse: {{ chats.ask }}" }
  chosen = chats.say
  rejected = worse
}
export dpo: preference from pairs to "out/dpo"
"""
    )
    [warning] = reported(text)
    assert (warning.code, warning.message) == (
        "W701",
        "`other` is neither `chosen` nor `rejected`, and never used",
    )


def test_a_recipe_without_an_export_is_warned_of() -> None:
    [warning] = reported(chats(TURN).replace(EXPORT, ""))
    assert warning.code == "W706"
    assert warning.hint == 'for example `export train: messages from chats to "out/train"`'


def test_a_missing_file_is_a_warning_to_look_at_and_an_error_to_run(tmp_path: Path) -> None:
    recipe = tmp_path / "mix.recipe"
    recipe.write_text(
        'edition 1\nrecipe mixed { seed = 1 }\nsource natural: messages from jsonl("nope.jsonl")\n'
        'mix all { natural 100% from natural }\nexport train: messages from all to "out/train"\n',
        "utf-8",
    )
    for command in ("check", "compile"):
        looked = CliRunner().invoke(cli, [command, str(recipe)])
        assert looked.exit_code == 0
        assert "W707" in looked.stderr
        assert "there is no `nope.jsonl` for `natural` to read" in looked.stderr
    ran = synth("run", recipe, cwd=tmp_path)
    assert ran.status != 0
    assert "W707" not in ran.err
    assert "nope.jsonl" in ran.err


def test_a_user_turn_that_sees_the_transcript_is_not_mapped_to_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    recipe = tmp_path / "talk.recipe"
    recipe.write_text(
        "edition 1\nrecipe talk { seed = 1 }\nmodel base: model<chat, template> from pocket()\n"
        'conversation chats times 2 {\n turn ask: user = "Hello."\n'
        " turn say: model by base { sees = transcript }\n"
        " turn more: user by base { sees = transcript }\n}\n" + EXPORT,
        "utf-8",
    )
    plan = api.compile(recipe)
    with pytest.raises(
        ConfigError, match="`more` is a user's turn that sees the transcript, and openai:gpt-4o"
    ):
        api.run(plan, log=tmp_path / "mapped.duckdb", models={"base": api.OpenAI("gpt-4o")})
    assert api.run(plan, log=tmp_path / "simulated.duckdb", simulate=True).exit_status == 0
