"""What tools are called with: what may be absent, what does not fit, files of the project and no others."""

from __future__ import annotations

from pathlib import Path

from tests.kit.servers.answers import answer
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.servers.tools import Calling
from tests.kit.support import rows, synth

_LIB = '''
from pathlib import Path
from typing import Literal


def sent(note: str | None, kind: Literal["late", "broken"] = "late", *, count: int = 3) -> dict[str, object]:
    """Sends a note."""
    return {"note": note, "kind": kind, "count": count}


def joined(first: str, /, second: str) -> str:
    """Joins."""
    return first + second


def read(file: Path) -> str:
    """Reads a file."""
    return file.read_text()


def listed(them: list[int]) -> str:
    """Lists them."""
    return str(them)


def forgets() -> None:
    """Does nothing."""
'''
_RECIPE = """edition 1
recipe r { seed = 1 }
use lib from "lib/lib.py"
model one: model<chat, tools> from openai("one")
model world: model<chat, json> from openai("one")
tool sent by lib.sent
tool joined by lib.joined
tool read by lib.read
tool listed by lib.listed
tool forgets by lib.forgets
schema Page { title: text(1..40) }
## Pages.
tool page: json<Page> by world {
  about: text?
  most: count(1..3)?
  prompt = "A page on {{ about }}, {{ most }}. {{ Page | json_schema }}"
}
conversation c times 1 {
  turn ask: user = "Hi"
  turn reply: model by one {
    sees = transcript
    tools = [sent, joined(second = "z"), read, listed, forgets, page]
    max_tool_calls = 20
  }
}
export e: messages from c to "out/e" { columns { called = c.reply.calls } }
"""
_CALLS: list[tuple[str, dict[str, object], str | None, str | None]] = [
    ("sent", {}, '{"count":3,"kind":"late","note":null}', None),
    ("sent", {"note": "a", "count": -1}, '{"count":-1,"kind":"late","note":"a"}', None),
    ("sent", {"note": None, "count": None, "kind": None}, '{"count":3,"kind":"late","note":null}', None),
    (
        "sent",
        {"note": "a", "kind": "lost"},
        None,
        'the argument `kind` is the text "lost", and one of "late", "broken" is wanted',
    ),
    ("sent", {"note": "a", "count": "x"}, None, 'the argument `count` is the text "x", and a whole number'),
    ("sent", {"note": ["a"]}, None, "the argument `note` is a list, and text is wanted"),
    ("sent", {"what": 1}, None, "there is no argument `what`; the arguments are note, kind, count"),
    ("listed", {}, None, "the argument `them` is missing"),
    ("listed", {"them": None}, None, "the argument `them` is null, and a list is wanted"),
    ("listed", {"them": [1, True]}, None, "the argument `them[1]` is true, and a whole number is wanted"),
    ("joined", {"first": "a"}, "az", None),
    ("joined", {"first": "a", "second": "b"}, None, "there is no argument `second`; the arguments are first"),
    ("read", {"file": "in.txt"}, "inside", None),
    ("read", {"file": "../out.txt"}, None, "lies outside the project"),
    ("forgets", {}, None, None),
    ("page", {"about": None}, '{"title"', None),
    ("page", {"most": 7}, None, "the argument `most` is 7, and at most 3 is wanted"),
    ("lost", {}, None, "there is no tool `lost`"),
]


def test_arguments_are_those_that_the_tool_takes(tmp_path: Path) -> None:
    def calls(asked: Asked) -> str | Calling:
        if not asked.tools:
            return answer(asked.key, asked.schema)
        done = len(asked.called)
        return Calling((_CALLS[done][:2],)) if done < len(_CALLS) else "Done."

    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "lib.py").write_text(_LIB)
    (folder / "in.txt").write_text("inside")
    (tmp_path / "out.txt").write_text("outside")
    (folder / "r.recipe").write_text(_RECIPE)
    with OpenAIServer(answer=calls) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "r.recipe", cwd=folder, env=environment)
        assert ran.status == 0, ran.err
    assert synth("materialize", "r.recipe", cwd=folder).status == 0
    (row,) = rows(folder / "out" / "e" / "train.jsonl")
    assert len(row["called"]) == len(_CALLS)
    for called, (name, _, result, fault) in zip(row["called"], _CALLS, strict=True):
        assert called["name"] == name
        assert str(called["result"]).startswith(str(result)), called
        assert (called["fault"] is None) == (fault is None), called
        assert str(fault or "") in str(called["fault"] or ""), called
