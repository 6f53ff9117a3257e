"""Answers from passages: right by the facts of questions, or to a judge who knows the reference."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.documents.helpers import lay
from tests.evaluation.helpers import DIRECT, HEAD, Project, asked_about, evaluation, project, served, values
from tests.kit.models.fixtures import needs
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import command, environment, one_sentence, query, synth

pytestmark = pytest.mark.embeds

SMALL = '\nmodel small: model<chat> from openai("small")\n'
JUDGE = '\nmodel judge: model<chat, json> from openai("judge")\n'
DOCS = """
source docs: chunk from folder("docs", glob = "**/*.md")
"""
QUESTIONS = [
    {
        "id": "fee",
        "question": "What is the fee of the program?",
        "answer": "60.000",
        "facts": [["60.000", "60 ribu"]],
    },
    {"id": "dorm", "question": "When do dormitories close?", "answer": "At ten.", "facts": ["ten"]},
    {"id": "both", "question": "Are fees due before dormitories open?", "answer": "Yes."},
    {"id": "pool", "question": "Zzyzx?", "answer": "Not found.", "facts": [["not found"]]},
]


def written(folder: Path, *measures: str) -> Project:
    lay(
        folder,
        {
            "docs/fees.md": "# Fees\n\nThe fee of the program is 60.000 rupiah.",
            "docs/dorms.md": "# Dormitories\n\nThe dormitories close at ten.",
            "questions.jsonl": "\n".join(map(json.dumps, QUESTIONS)),
        },
    )
    text = evaluation(*measures)
    docs = DOCS if "docs" in text else ""
    return project(folder, SMALL + (JUDGE if "judge" in text else "") + docs + DIRECT + text, head=HEAD)


def tell(made: Project) -> None:
    made.tell({"direct": ["plain"] * 10})


def answer(asked: Asked) -> str:
    """The student recites its passages, if it has any; the judge likes what mentions dormitories."""
    said = asked.messages[-1][1]
    if asked.model in ("judge", "elder"):
        judged = said.partition("Answer to judge:\n")[2]
        return json.dumps({"why": "So it is.", "correct": "dormitories" in judged.partition("\n\nIt is")[0]})
    passages, _, _ = said.partition("Passages:\n")[2].partition("\n\nQuestion:")
    return passages or "It is NOT  FOUND."


BY_FACTS = (
    'rag_accuracy(student = small, questions = "questions.jsonl", source = docs, top_k = 1, at_least = 60%)'
)


@pytest.mark.slow
def test_questions_are_right_by_their_facts(tmp_path: Path) -> None:
    needs("lancedb")
    made = written(tmp_path, BY_FACTS)
    with OpenAIServer(answer=answer) as server:
        # Nothing has been run, and nothing of the dataset is looked at.
        result = made.evaluate("--json", env=served(server))
        assert result.status == 0, result.err
        (found,) = result.json()["evaluations"]
        assert (found["rows"], found["held_out"]) == (None, None)
        (each,) = found["measures"]
        assert (each["by"], each["value"], each["judged"]) == ("facts", 100.0, 3)
        asked = asked_about(server)
        assert len(asked) == 4
        (fee,) = (each for each in asked if "What is the fee" in each)
        assert "[1] " in fee
        assert "60.000 rupiah" in fee
        assert "ten" not in fee.partition("Passages:")[2]
        made.measures(env=served(server))
        assert server.total == 4
        # Another number of passages is another exam.
        (made.folder / "made.recipe").write_text(
            made.recipe.read_text("utf-8").replace("top_k = 1", "top_k = 2")
        )
        made.measures(env=served(server))
        assert server.total == 8


@pytest.mark.slow
def test_a_document_that_changed_changes_what_it_is_about(tmp_path: Path) -> None:
    needs("lancedb")
    made = written(tmp_path, BY_FACTS)
    with OpenAIServer(answer=answer) as server:
        made.measures(env=served(server))
        (tmp_path / "docs/fees.md").write_text("# Fees\n\nThe fee of the program is 160.000 rupiah.")
        found = made.measures(env=served(server))
        # The one whose passage changed, and no other.
        assert [("fee of the program" in each) for each in asked_about(server)[4:]] == [True]
        assert values(found, "rag_accuracy", "small", "facts") == (100 * 2 / 3, 3)
        assert found["rag_accuracy", "small", "facts"]["examples"] == [
            {"row": "fee", "reason": "lacks 60.000"}
        ]
        made.measures(env=served(server))
        assert server.total == 5


@pytest.mark.slow
def test_a_judge_knows_the_reference_of_each_question(tmp_path: Path) -> None:
    needs("lancedb")
    made = written(tmp_path, BY_FACTS.replace("small,", "small, judge = judge,"))
    tell(made)
    with OpenAIServer(answer=answer) as server:
        found = made.measures(env=served(server))
        assert values(found, "rag_accuracy", "small", "facts") == (100.0, 3)
        by_judge = found["rag_accuracy", "small", "`judge`"]
        assert by_judge["judged"] == 4
        asked = [each for each in asked_about(server) if "Answer to judge" in each]
        assert len(asked) == 4
        dorm = next(each for each in asked if "When do dormitories close?" in each)
        assert "Reference answer:\nAt ten.\n\nAnswer to judge:\n[1] " in dorm
        right = sum("dormitories" in each.partition("Answer to judge:\n")[2] for each in asked)
        assert by_judge["value"] == 100 * right / 4
        assert all(each["reason"] == "So it is." for each in by_judge["examples"])
        total = server.total
        made.measures(env=served(server))
        assert server.total == total == 8
        # Who judges is another matter than what is answered.
        made.measures("--model", "judge=openai:elder", env=served(server))
        assert [received.body["model"] for received in server.received[8:]] == ["elder"] * 4


def test_a_judge_compares_with_the_rows(tmp_path: Path) -> None:
    made = written(
        tmp_path,
        "rag_accuracy(student = small, judge = judge, at_least = 10%)",
        "emoji(student = small, at_most = 100%)",
    )
    tell(made)

    def said(asked: Asked) -> str:
        if asked.model == "small":
            return f"plain {asked.messages[-1][1]}"
        judged = asked.messages[-1][1]
        assert "Reference answer:\nplain\n\n" in judged
        # A verdict that cannot be read is asked for again.
        if "Question 3?" in judged:
            return '{"correct": "perhaps"}'
        return json.dumps({"why": "w", "correct": "Question 1?" in judged})

    with OpenAIServer(answer=said) as server:
        found = made.measures(env=served(server))
        asked = [received.body["model"] for received in server.received]
    rows = asked.count("small")
    held_out = {each["content"] for received in server.received for each in received.body["messages"]}
    doubtful = "Question 3?" in held_out
    by_judge = found["rag_accuracy", "small", "`judge`"]
    assert by_judge["judged"] == rows - doubtful
    assert by_judge["value"] == 100 * ("Question 1?" in held_out) / (rows - doubtful)
    assert by_judge["note"] == ("no verdict on 1" if doubtful else "")
    assert asked.count("judge") == rows + 2 * doubtful
    # The same answers serve what has no judge.
    assert values(found, "emoji", "small") == (0.0, rows)


def test_earlier_turns_are_part_of_the_question(tmp_path: Path) -> None:
    text = """
source natural: messages from jsonl("chat.jsonl")
mix training { all 100% from natural }
export train: messages from training to "out/train"
"""
    chat = [
        {"role": "user", "content": "I study law."},
        {"role": "assistant", "content": "Good."},
        {"role": "user", "content": "What of fees?"},
        {"role": "assistant", "content": "None."},
    ]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": chat}))
    made = project(
        tmp_path,
        SMALL + JUDGE + text + evaluation("rag_accuracy(student = small, judge = judge, at_least = 0%)"),
        head=HEAD,
    )
    assert synth("run", made.recipe, "--simulate", cwd=tmp_path).status == 0
    with OpenAIServer(answer=answer) as server:
        made.measures(env=served(server))
        student, judge = (received.body["messages"] for received in server.received)
    assert [message["content"] for message in student] == ["I study law.", "Good.", "What of fees?"]
    assert (
        "Question:\nUser: I study law.\nModel: Good.\nUser: What of fees?\n\nReference answer:\nNone."
        in (judge[-1]["content"])
    )


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        ("nowhere.jsonl", "the questions in `nowhere.jsonl` cannot be read: No such file or directory"),
        ("../questions.jsonl", "the questions: `../questions.jsonl` lies outside the project"),
        ("docs/fees.md", "docs/fees.md:1 is not JSON"),
    ],
)
def test_questions_that_cannot_be_read_cost_nothing(tmp_path: Path, questions: str, said: str) -> None:
    made = written(tmp_path / "inner", BY_FACTS.replace("questions.jsonl", questions))
    with OpenAIServer(answer=answer) as server:
        assert one_sentence(made.evaluate(env=served(server)), 1).startswith(said)
        assert server.total == 0
    assert not made.log.exists()


def test_questions_elsewhere_may_be_allowed(tmp_path: Path) -> None:
    needs("lancedb")
    made = written(tmp_path / "inner", BY_FACTS.replace("questions.jsonl", "../questions.jsonl"))
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTIONS[0]))
    with OpenAIServer(answer=answer) as server:
        found = made.measures("--allow", tmp_path, env=served(server))
    assert values(found, "rag_accuracy", "small", "facts") == (100.0, 1)


def test_questions_without_facts_need_a_judge(tmp_path: Path) -> None:
    needs("lancedb")
    made = written(tmp_path, BY_FACTS)
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTIONS[2]))
    with OpenAIServer(answer=answer) as server:
        found = made.measures(status=3, env=served(server))
    assert found["rag_accuracy", "small", "facts"]["note"] == "no question has facts"


def test_the_passages_of_a_question_are_in_the_log(tmp_path: Path) -> None:
    needs("lancedb")
    made = written(tmp_path, BY_FACTS)
    with OpenAIServer(answer=answer) as server:
        made.measures(env=served(server))
    ((name,),) = query(
        made.log,
        "SELECT sample_id FROM events WHERE kind = 'sample.completed' "
        "AND contains(CAST(payload AS VARCHAR), '60.000')",
    )
    story = synth("show", name, cwd=tmp_path)
    assert story.status == 0, story.err
    assert "retrieve from `docs`" in story.out
    assert "What is the fee of the program?" in story.out


def test_a_run_neither_opens_nor_reads_what_only_an_evaluation_uses(tmp_path: Path) -> None:
    made = written(tmp_path, BY_FACTS.replace("small,", "small, judge = judge,"))
    (tmp_path / "questions.jsonl").unlink()
    ran = synth("run", made.recipe, "--model", "writer=simulated:w", "--json", cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert ran.json()["sources"] == {}
    ((config_hashes, versions),) = query(
        made.log,
        "SELECT payload ->> 'lineages', payload ->> 'versions' FROM events WHERE kind = 'run.started'",
    )
    assert "small" not in config_hashes
    assert "openai" not in versions


def test_a_terminal_shows_students_and_then_judges(tmp_path: Path) -> None:
    made = written(tmp_path, "rag_accuracy(student = small, judge = judge, at_least = 0%)")
    tell(made)
    (tmp_path / "synth.toml").write_text("[simulate]\nlatency = 0.3\n")
    ours, theirs = os.openpty()
    arguments = command("evaluate", made.recipe, "--simulate")
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment(), stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(read_terminal(ours)).decode()
    assert process.returncode == 0
    assert "Traceback" not in shown
    students, judges = shown.split("train.small.by.judge", 1)
    assert "train.small\x1b" in students
    # Once the judges are asked, no more is shown of the students.
    assert "train.small\x1b" not in judges
    # The table comes last, and the cursor is there again.
    assert "rag_accuracy" in judges
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def read_terminal(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until its other end is closed, which Linux calls an error."""
    with suppress(OSError):
        while some := os.read(terminal, 4096):
            yield some
    os.close(terminal)
