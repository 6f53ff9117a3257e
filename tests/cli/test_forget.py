"""`forget`: what is to go is gone from the new log in whatever form, and all else is as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from synth.store.forget.search import Texts
from synth.store.rescue.doctor import diagnose
from tests.kit.payloads import kinds_in
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result, one_sentence, query, rows, synth

KEY = 'sk-"lökey"/7'
NAME = "Zoë Example-Person"

RECIPE = """edition 1

recipe leaks { seed = 4 }

param asks: count = 12

model writer: model<chat, json> from openai("writer") { max_tokens = 60 }

schema Said { said: text(1..200) }
schema Person { role: text, model: text }
set people: Person { one { role = "MARKER-AS-ROLE", model = "MARKER-AS-MODEL" } }

source notes: messages from jsonl("notes.jsonl")

conversation talk times asks {
  turn ask: user by writer { prompt = "Ask, number {{ nth }}." }
  turn answer: model by writer { prompt = "{{ ask }}", check { no_words("refused") }, retry = 3 }
  train_on = [answer]
}

conversation shapes times 4 {
  draw person from people
  turn ask: user = "Shape {{ nth }} of MARKER-IN-PLAN"
  turn answer: model by writer { prompt = "{{ ask }}", produces: json<Said> }
  train_on = [answer]
}

preference padding from talk {
  turn padded: model by writer { prompt = "Pad: {{ talk.answer }}" }
  chosen = talk.answer
  rejected = padded
}

mix all {
  made 50% from talk
  read 50% from notes
}

export rows: messages from talk to "out/rows" { split = 75% }
export table: messages from talk to "out/table" { format = parquet }
export pairs: preference from padding to "out/pairs"
export lost: rejected from talk to "out/lost"
export both: unpaired from talk to "out/both"
export shaped: messages from shapes to "out/shapes" { columns = [shapes.person] }
export mixed: messages from all to "out/mixed"
"""


class _Once:
    """Answers in which the key stands: what is said of each question, and once of one."""

    def __init__(self) -> None:
        self.refused = False

    def __call__(self, asked: Asked) -> str:
        said = asked.messages[-1][1]
        if said.startswith("Ask, number "):
            number = int(said.removeprefix("Ask, number ").rstrip("."))
            # The later turn's prompt holds what the earlier one says.
            return f"Question {number}, key {KEY}?" if number == 2 else f"Question {number}?"
        if said.startswith("Shape 3"):
            # JSON within JSON, escaped as nobody writes it.
            inner = json.dumps({"name": NAME}).replace("/", "\\/").replace("E", "\\u0045")
            return json.dumps({"said": inner})
        if said.startswith("Shape"):
            return json.dumps({"said": said})
        if said == "Question 4?" and not self.refused:
            self.refused = True
            return f"refused, since {KEY} is no key"
        if said == "Question 5?":
            return f"<think>{NAME} asks.</think>Five."
        if said.startswith("Pad: Answer to Question 6"):
            return f"Padded for {NAME}."
        return f"Answer to {said}, which is long enough to be told from others."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and its datasets.  The service is gone by then: whoever asks it fails."""
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "leaks.recipe").write_text(RECIPE)
    notes = [
        [{"role": "user", "content": f"Note {n}?"}, {"role": "assistant", "content": f"Noted {n}."}]
        for n in range(20)
    ]
    notes[7][1]["content"] = f"It is {NAME}, decomposed: Zoe\u0308."
    notes[8][1]["content"] = json.dumps(json.dumps(KEY))
    (folder / "notes.jsonl").write_text("".join(json.dumps({"messages": each}) + "\n" for each in notes))
    with OpenAIServer(answer=_Once()) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        assert synth("run", "leaks.recipe", cwd=folder, env=env).status == 0
    written = synth("materialize", "leaks.recipe", cwd=folder)
    assert written.status == 0, written.err
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "leaks"))


def _forget(folder: Path, *arguments: str) -> Result:
    return synth("forget", *arguments, "-o", "new.duckdb", cwd=folder)


def _everything(folder: Path, name: str) -> str:
    """All that a log holds, with each escape of JSON taken for what it stands for."""
    text = "\n".join(str(row) for row in query(folder / name, "SELECT * FROM events"))
    for _ in range(6):
        for escape in ("\\u00eb", "\\u00f6", "\\u0045", '\\"', "\\/", "\\\\"):
            plain = {"\\u00eb": "ë", "\\u00f6": "ö", "\\u0045": "E", '\\"': '"', "\\/": "/", "\\\\": "\\"}
            text = text.replace(escape, plain[escape])
    return text


def _offline(folder: Path, *arguments: str) -> Result:
    """With a service that is not there, so that whatever would be asked fails."""
    env = {"OPENAI_BASE_URL": "http://127.0.0.1:9", "OPENAI_API_KEY": "k"}
    return synth(*arguments, "--log", "new.duckdb", cwd=folder, env=env)


def test_a_leaked_key_is_gone_wherever_it_stood(folder: Path) -> None:
    before = (folder / "synth.duckdb").read_bytes()
    done = _forget(folder, "--matching", KEY)
    assert done.status == 0, done.err
    assert (folder / "synth.duckdb").read_bytes() == before
    assert {"source.completed", "sample.completed", "step.rejected"} <= kinds_in(folder / "synth.duckdb")
    assert {"sample.forgotten", "log.rewritten"} <= kinds_in(folder / "new.duckdb")
    assert KEY in _everything(folder, "synth.duckdb")
    assert KEY not in _everything(folder, "new.duckdb")
    assert KEY.encode() not in (folder / "new.duckdb").read_bytes()
    # With the pairs that were made from the two.
    assert "4 samples" in done.out
    assert "1 row of sources" in done.out
    assert "notes.jsonl:9" in done.out
    for name in ("rows", "table", "both", "pairs", "mixed", "lost"):
        assert f"out/{name} still holds it" in done.out
    assert "out/shapes" not in done.out
    assert KEY not in done.out
    assert not [path for path in folder.iterdir() if path.name.startswith(".new")]


def test_datasets_leave_out_what_is_forgotten_and_say_so(folder: Path) -> None:
    told = synth("forget", "--matching", KEY, "-o", "new.duckdb", "--json", cwd=folder).json()
    gone = {*told["samples"], *told["rows"]}
    written = _offline(folder, "materialize", "leaks.recipe", "--out", "after")
    assert written.status == 0, written.err
    assert "2 left out, since they are forgotten" in written.out
    for path in ("rows/train.jsonl", "rows/eval.jsonl", "shapes/train.jsonl", "both/train.jsonl"):
        old, new = (rows(folder / out / path) for out in ("out", "after/out"))
        assert new == [row for row in old if row["id"].split("-")[0] not in gone], path
    assert len(rows(folder / "after/out/pairs/train.jsonl")) == 10
    manifest = json.loads((folder / "after/out/rows/manifest.json").read_text())
    assert manifest["forgotten"] == manifest["source"]["forgotten"] == 2
    assert "Left out: 2 that were forgotten" in (folder / "after/out/rows/README.md").read_text()
    mixed = json.loads((folder / "after/out/mixed/manifest.json").read_text())
    assert mixed["forgotten"] == 3
    everything = "".join(
        path.read_bytes().decode("utf-8", "replace")
        for path in (folder / "after").rglob("*.*")
        if path.is_file()
    )
    assert KEY not in everything
    again = _offline(folder, "verify", "after/out/rows")
    assert again.status == 0, again.err


def test_no_run_pays_for_it_again_and_what_reads_the_log_is_honest(folder: Path) -> None:
    told = synth("forget", "--matching", KEY, "-o", "new.duckdb", "--json", cwd=folder).json()
    again = _offline(folder, "run", "leaks.recipe", "--patience", "0")
    assert again.status == 0, again.err
    assert "2 samples of `talk` are forgotten and not made again" in again.out
    assert _offline(folder, "run", "leaks.recipe", "--patience", "0", "--retry-lost").status == 0
    replayed = _offline(folder, "replay", "leaks.recipe")
    assert replayed.status == 0, replayed.err
    assert "4 forgotten" in replayed.out
    assert "forgotten: 4 samples and 1 row of sources" in _offline(folder, "status").out
    shown = _offline(folder, "show", told["samples"][0])
    assert shown.status == 0, shown.err
    assert "forgotten: the payload had sha256" in shown.out
    assert "forgotten" in _offline(folder, "show", told["rows"][0]).out
    asked = _offline(folder, "sql", "SELECT count(*) FROM events WHERE (payload ->> 'forgotten') IS NOT NULL")
    assert "were forgotten" in asked.err
    assert "has forgotten since" in one_sentence(_offline(folder, "verify", "out/rows"), 4)
    whole = _offline(folder, "verify", "out/shapes")
    assert whole.status == 0, whole.err


def test_a_sample_that_was_under_way_is_not_made_to_its_end(made: Path, tmp_path: Path) -> None:
    for name in ("leaks.recipe", "notes.jsonl"):
        shutil.copy(made / name, tmp_path)
    few = ("leaks.recipe", "--set", "asks=2")
    with OpenAIServer(answer=_Once()) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        assert synth("run", *few, "--max-calls", "2", cwd=tmp_path, env=env).status == 3
        told = synth("forget", "--matching", KEY, "-o", "new.duckdb", "--json", cwd=tmp_path).json()
        assert len(told["samples"]) == 1
        before = len(server.received)
        done = synth("run", *few, "--log", "new.duckdb", cwd=tmp_path, env=env)
        assert done.status == 0, done.err
        assert "1 sample of `talk` is forgotten" in done.out
        assert not [each for each in server.received[before:] if "number 2." in json.dumps(each.body)]
    written = _offline(tmp_path, "materialize", *few)
    assert written.status == 0, written.err
    assert "1 left out" in written.out
    assert _offline(tmp_path, "replay", *few).status == 0


def test_a_persons_name_is_found_in_each_form(folder: Path) -> None:
    done = _forget(folder, "--matching", NAME, "--matching", "Zoe\u0308.")
    assert done.status == 0, done.err
    assert NAME not in _everything(folder, "new.duckdb")
    gone = {
        name
        for (name,) in query(
            folder / "new.duckdb", "SELECT sample_id FROM events WHERE kind = 'sample.forgotten'"
        )
    }
    # The thought, the nested JSON, the padded answer and the row of the source.
    assert len(gone) == 3 + 1 + 1
    assert _offline(folder, "materialize", "leaks.recipe", "--out", "after").status == 0
    again = _offline(folder, "materialize", "leaks.recipe", "--out", "again").out
    assert "1 left out, since it is forgotten" in again
    assert diagnose(folder / "new.duckdb").facts["runs"] == 1


def test_a_text_in_two_normal_forms_at_once_and_a_dataset_that_cannot_be_read(folder: Path) -> None:
    assert Texts(["Zoë Müller"]).stand_in("by Zoe\u0308 M\u00fcller")
    (folder / "out/table/train.parquet").write_bytes(b"garbage")
    done = _forget(folder, "--matching", KEY)
    assert done.status == 0, done.err
    assert "out/table still holds it" in done.out


def test_a_text_in_the_plan_is_said_with_what_to_do(folder: Path) -> None:
    done = _forget(folder, "--matching", "MARKER-IN-PLAN")
    assert done.status == 0, done.err
    assert "take it out of the recipe" in done.out
    assert "MARKER-IN-PLAN" not in _everything(folder, "new.duckdb")
    assert "--recipe" in one_sentence(_offline(folder, "verify", "out/rows"), 4)
    assert _offline(folder, "verify", "out/rows", "--recipe", "leaks.recipe").status == 0
    other = rows(folder / "out/rows/train.jsonl")[0]["id"]
    assert _offline(folder, "show", other).status == 0


def test_what_stands_in_names_is_gone_or_said(folder: Path) -> None:
    """Fields that are called as the log's own are anybody's, and names that the log is read by stay."""
    done = _forget(folder, "--matching", "MARKER-AS-ROLE", "--matching", "MARKER-AS-MODEL")
    assert done.status == 0, done.err
    assert "MARKER-AS-" in _everything(folder, "synth.duckdb")
    assert "MARKER-AS-" not in _everything(folder, "new.duckdb")
    assert "it is left" not in done.out
    named = synth("forget", "--matching", "shapes", "-o", "newer.duckdb", cwd=folder)
    assert named.status == 0, named.err
    assert "of newer.duckdb, as the name of a conversation, by which the log is read" in named.out
    assert "out/shapes still holds it in its card and manifest and name: " in named.out
    assert "out/rows still holds it" not in named.out
    only = synth("forget", "--matching", "call_key", "-o", "none.duckdb", cwd=folder)
    assert "only in what the log is read by" in one_sentence(only, 1)


def test_a_sample_is_forgotten_with_the_pairs_made_from_it(folder: Path) -> None:
    name = next(
        row["id"]
        for row in rows(folder / "out/rows/train.jsonl")
        if row["messages"][0]["content"] in ("Question 9?", "Question 10?", "Question 11?")
    )
    before = query(
        folder / "synth.duckdb",
        "SELECT payload ->> 'text' FROM events WHERE sample_id = ? AND kind = 'call.completed'",
        [name],
    )
    done = _forget(folder, "--sample", f"{name}-0")
    assert done.status == 0, done.err
    assert "2 samples forgotten" in done.out
    left = _everything(folder, "new.duckdb")
    assert all(text not in left for (text,) in before if len(text) > 40)
    # What was forgotten stays so when more is.
    more = synth("forget", "--matching", KEY, "--log", "new.duckdb", "-o", "newer.duckdb", cwd=folder)
    assert more.status == 0, more.err
    assert "out/rows still holds it" in more.out, "it was made from the log before both"
    status = synth("status", "--log", "newer.duckdb", "--json", cwd=folder).json()
    assert status["forgotten"]["samples"] == 2 + 4
    written = synth("materialize", "leaks.recipe", "--log", "newer.duckdb", "--out", "after", cwd=folder)
    assert written.status == 0, written.err
    assert "3 left out" in written.out
    assert "has forgotten since" in one_sentence(
        synth("verify", "out/rows", "--log", "newer.duckdb", cwd=folder), 4
    )
    again = synth("forget", "--sample", name, "--log", "new.duckdb", "-o", "newest.duckdb", cwd=folder)
    assert "forgotten that already" in one_sentence(again, 1)


def test_what_cannot_be_forgotten_is_a_sentence(folder: Path) -> None:
    assert _forget(folder).status == 2
    assert "the empty one" in _forget(folder, "--matching", "").err
    assert "no payload of the log holds" in one_sentence(_forget(folder, "--matching", "nowhere at all"), 1)
    everywhere = one_sentence(_forget(folder, "--matching", "e"), 1)
    assert "delete the log" in everywhere
    assert "knows no sample" in one_sentence(_forget(folder, "--sample", "ffffffffffffffff"), 1)
    assert "knows no sample" in one_sentence(_forget(folder, "--sample", ""), 1)
    (folder / "new.duckdb").write_text("mine")
    assert "is there already" in one_sentence(_forget(folder, "--matching", KEY), 1)
    assert (folder / "new.duckdb").read_text() == "mine"
    (folder / "new.duckdb").rename(folder / "new.duckdb.wal")
    assert "new.duckdb.wal is there already" in one_sentence(_forget(folder, "--matching", KEY), 1)
    assert (folder / "new.duckdb.wal").read_text() == "mine"
    missing = synth("forget", "--matching", KEY, "--log", "none.duckdb", cwd=folder)
    assert "no log" in one_sentence(missing, 5)


def test_the_chain_of_a_log_that_forgot_holds_and_tells_of_alterations(folder: Path) -> None:
    assert _forget(folder, "--matching", KEY).status == 0
    assert (folder / "new.duckdb.witness").exists()
    with duckdb.connect(str(folder / "new.duckdb")) as connection:
        connection.execute(
            'UPDATE events SET payload = json_merge_patch(payload, \'{"forgotten": "0"}\') '
            "WHERE (payload ->> 'forgotten') IS NOT NULL"
        )
    assert "does not hold" in one_sentence(_offline(folder, "materialize", "leaks.recipe"), 5)
