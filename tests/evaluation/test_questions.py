"""Questions and their facts: when an answer holds one, and which files hold questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.errors import ConfigError
from synth.runtime.evaluation.questions import Question, read_questions
from tests.kit.support import RECIPES


def holds(way: str, answer: str) -> bool:
    return not Question("1", "?", "!", ((way,),)).missing(answer)


@pytest.mark.parametrize(
    ("way", "answer"),
    [
        ("60.000", "Biayanya 60.000."),
        ("60.000", "Rp60.000,-"),
        ("115 ribu", "kira-kira 115 RIBU rupiah"),
        ("5 juta", "5\njuta"),
        ("5 juta", "Rp5\u00a0juta"),
        ("8%", "paling banyak 8%!"),
        ("TI", "**TI** lebih murah"),
        ("tidak ditemukan", "Informasi tidak  ditemukan."),
        ("08.00", "08.00–16.00"),
        ("16.00", "08.00-16.00"),
        ("B1", "tipe B1, lantai 2"),
        ("ﬁve", "FIVE"),
        ("Straße", "STRASSE"),
        ("أنا", "قال: أنا هيثم"),
        ("3", "3. Yes"),
        ("(a)", "see (a)b"),
    ],
)
def test_a_wording_counts_where_it_stands_by_itself(way: str, answer: str) -> None:
    assert holds(way, answer)


@pytest.mark.parametrize(
    ("way", "answer"),
    [
        ("60.000", "160.000"),
        ("60.000", "60.0001"),
        ("115.000", "1.115.000"),
        ("3.000", "3.000.000"),
        ("5 juta", "15 juta"),
        ("5 juta", "1,5 juta"),
        ("5 juta", "2.5 juta"),
        ("8%", "18%"),
        ("8%", "0,8%"),
        ("8", "8,5"),
        ("TI", "tidak"),
        ("ten", "often, tenth"),
        ("B1", "B12"),
        ("٥", "١٥"),
        ("هيثم", "الهيثم"),
        ("five", ""),
    ],
)
def test_a_longer_word_or_number_is_another(way: str, answer: str) -> None:
    assert not holds(way, answer)


numbers = st.integers(0, 10**9).map(str)


@given(
    numbers,
    st.sampled_from(["", " ", "Rp", "(", "**", "= ", "\n"]),
    st.sampled_from(["", " ", ".", ", ", ")", "%"]),
)
def test_a_number_is_found_between_others(number: str, before: str, after: str) -> None:
    assert holds(number, f"{before}{number}{after}")


@given(numbers, st.sampled_from("0123456789"), st.sampled_from(["", ".", ","]))
def test_a_number_is_not_part_of_another(number: str, digit: str, between: str) -> None:
    assert not holds(number, f"{digit}{between}{number}") or f"{digit}{number}" == number
    assert not holds(number, f"{number}{between}{digit}")


@given(st.text(min_size=1).filter(str.strip), st.text())
def test_any_text_can_be_looked_for_in_any_other(way: str, answer: str) -> None:
    question = Question("1", "?", "!", ((way,),))
    assert question.missing(answer) in ([], [way])
    assert question.missing(f"{answer} ; {way.strip()} ; {answer}") == [] or not way.strip().isprintable()


def test_every_fact_is_needed_in_one_of_its_wordings() -> None:
    question = Question("1", "?", "!", (("TI", "Teknik Informatika"), ("24.090.000", "24,09 juta")))
    assert question.missing("teknik informatika, 24,09 juta") == []
    assert question.missing("TI, 124.090.000") == ["24.090.000"]
    assert question.missing("") == ["TI", "24.090.000"]


def test_the_reference_answers_of_the_recipes_questions_hold_their_facts() -> None:
    found = read_questions(RECIPES, "data/unsiq_questions.jsonl")
    assert len(found) > 100
    assert {each.id: each.missing(each.answer) for each in found if each.missing(each.answer)} == {}
    # One answer is not that of another question by chance.
    others = [each for each in found if not each.missing("Informasi tidak ditemukan dalam dokumen UNSIQ.")]
    kinds = [
        json.loads(line) for line in (RECIPES / "data/unsiq_questions.jsonl").read_text("utf-8").splitlines()
    ]
    assert {each.id for each in others} == {each["id"] for each in kinds if each["kind"] == "not_found"}


def write(folder: Path, text: str | bytes) -> Path:
    (folder / "synth.toml").write_text("")
    (folder / "q.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def line(**fields: object) -> str:
    return json.dumps({"question": "So?", "answer": "Yes.", **fields}, ensure_ascii=False)


def test_a_line_is_a_question_whatever_else_it_says(tmp_path: Path) -> None:
    lines = [
        line(),
        "",
        line(id=7, facts=["yes", ["so", "thus"]], kind="direct"),
        line(id="x", question="One\u2028line\x85 \ud83d", facts=[]).replace("\ud83d", "\\ud83d"),
    ]
    found = read_questions(write(tmp_path, "\ufeff" + "\r\n".join(lines)), "q.jsonl")
    assert [(each.id, each.facts) for each in found] == [
        ("1", ()),
        ("7", (("yes",), ("so", "thus"))),
        ("x", ()),
    ]
    assert found[2].question == "One\u2028line\x85 \ufffd"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "q.jsonl holds no question: each line is a JSON object"),
        ("\n \n", "q.jsonl holds no question"),
        (line() + "\n{", "q.jsonl:2 is not JSON"),
        ("[" * 100_000, "q.jsonl:1 is not JSON"),
        ("[]", "q.jsonl:1 is no question"),
        (line(question=" "), "q.jsonl:1 is no question"),
        (line(answer=3), "q.jsonl:1 is no question"),
        (line(id=None), "q.jsonl:1: `id` is a text or a number"),
        (line(id=""), "q.jsonl:1: `id` is a text or a number"),
        (line(id="a") + "\n" + line(id="a"), "q.jsonl:2: another question has the id `a`"),
        (line(id="2") + "\n" + line(), "q.jsonl:2: another question has the id `2`"),
        (line(facts="yes"), "q.jsonl:1: `facts` is a list of texts"),
        (line(facts=[[]]), "q.jsonl:1: `facts` is a list of texts"),
        (line(facts=[["yes", " "]]), "q.jsonl:1: `facts` is a list of texts"),
        (line(facts=[3]), "q.jsonl:1: `facts` is a list of texts"),
        (b"\xff", "the questions in `q.jsonl` cannot be read: it is not UTF-8"),
    ],
)
def test_a_file_without_questions_is_one_sentence(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_questions(write(tmp_path, text), "q.jsonl")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_questions_lie_in_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(tmp_path, line())
    (inner / "synth.toml").write_text("")
    with pytest.raises(ConfigError, match=r"the questions: `\.\./q\.jsonl` lies outside the project"):
        read_questions(inner, "../q.jsonl")
    assert len(read_questions(inner, "../q.jsonl", [tmp_path])) == 1
    for written, said in (("none.jsonl", "No such file"), (".", "Is a directory"), ("a\0b", "NUL")):
        with pytest.raises(ConfigError, match=said):
            read_questions(inner, written)
