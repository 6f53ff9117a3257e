"""Passages: every word in one, none too long, and ids that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth.base.errors import ConfigError
from synth.compiler.plan.steps import CallPlan
from synth.runtime.documents import Block, Document, Splitter
from synth.runtime.documents.markdown import read_markdown
from synth.runtime.documents.words import LONGEST, count_words, find_words
from tests.documents.helpers import by_heading, by_size

WORDS = st.text(alphabet="abcكمÅ\u0301\u200d.,?!", min_size=1, max_size=12)
PROSE = st.lists(
    st.tuples(WORDS, st.sampled_from([" ", " ", " ", "\n", "\n\n", " \n \n", "\u00a0", "\t"])), max_size=60
).map(lambda parts: "".join(word + gap for word, gap in parts))
BLOCKS = st.lists(
    st.one_of(
        st.builds(Block, st.just(0), PROSE),
        st.builds(Block, st.integers(1, 6), st.lists(WORDS, min_size=1, max_size=5).map(" ".join)),
    ),
    max_size=12,
)
DOCUMENTS = st.builds(
    lambda blocks, title: Document("a/b.md", tuple(blocks), title),
    BLOCKS,
    st.lists(WORDS, max_size=3).map(" ".join),
)
SPLITTERS = st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 39)).map(
    lambda drawn: Splitter(drawn[0], drawn[1], min(drawn[2], drawn[1] - 1))
)


def document(text: str, name: str = "a.md") -> Document:
    return read_markdown(text, name)


def texts(splitter: Splitter, text: str) -> list[str]:
    return [chunk.text for chunk in splitter.split(document(text))]


def pieces(text: str) -> list[str]:
    words = find_words(text)
    return [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]


def is_within(words: Sequence[str], others: Sequence[str]) -> bool:
    """Whether all of some words are among others, as often."""
    rest = list(others)
    return all(word in rest and not rest.remove(word) for word in words)  # type: ignore[func-returns-value]


@given(DOCUMENTS, SPLITTERS)
@example(Document("a", (Block(1, "a"), Block(2, "b"), Block(0, "c"))), Splitter(True, 2, 0))
@example(Document("a", (Block(1, "a b c d"), Block(2, "e f g h"), Block(3, "i j"))), Splitter(True, 8, 0))
@example(Document("a", (Block(1, "a"), Block(2, "b c"), Block(1, "d"))), Splitter(True, 4, 0))
@example(Document("a", (Block(1, "a"), Block(2, "a"), Block(3, "a"))), Splitter(True, 6, 0))
def test_no_word_is_lost_and_no_passage_is_too_long(document: Document, splitter: Splitter) -> None:
    chunks = splitter.split(document)
    wanted = [piece for block in document.blocks for piece in pieces(block.text)]
    assert is_within(wanted, [piece for chunk in chunks for piece in pieces(chunk.text)])
    assert all(1 <= count_words(chunk.text) <= splitter.max_words for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert bool(chunks) == bool(wanted)


@given(st.text() | PROSE | st.text(alphabet="a\u0301 \n\x1f\x85\u2003", min_size=50, max_size=300))
def test_words_are_counted_as_they_are_found(text: str) -> None:
    assert count_words(text) == len(find_words(text)) == len(pieces(text))
    assert "".join(pieces(text)) == "".join(text.split())


@given(PROSE, st.integers(1, 12))
def test_without_overlap_the_words_come_once_and_in_order(text: str, size: int) -> None:
    chunks = by_size(size).split(Document("a", (Block(0, text),)))
    assert [piece for chunk in chunks for piece in pieces(chunk.text)] == pieces(text)


@given(
    st.lists(st.sampled_from([" ", " ", ".\n", "\n\n", "? "]), min_size=1, max_size=80),
    st.integers(1, 12),
    st.integers(0, 11),
)
def test_overlap_repeats_the_end_of_the_passage_before(gaps: list[str], size: int, overlap: int) -> None:
    overlap = min(overlap, size - 1)
    text = "".join(f"{number}{gap}" for number, gap in enumerate(gaps))
    chunks = by_size(size, overlap).split(Document("a", (Block(0, text),)))
    ranges = [[int(piece.rstrip(".?")) for piece in pieces(chunk.text)] for chunk in chunks]
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in ranges)
    assert (ranges[0][0], ranges[-1][-1]) == (0, len(gaps) - 1)
    for before, after in pairwise(ranges):
        assert before[0] < after[0]
        assert before[-1] - overlap < after[0] <= before[-1] + 1


@given(st.lists(DOCUMENTS, min_size=1, max_size=3), DOCUMENTS, SPLITTERS)
def test_ids_do_not_depend_on_other_documents(
    others: list[Document], document: Document, splitter: Splitter
) -> None:
    alone = [chunk.id for chunk in splitter.split(document)]
    for number, other in enumerate(others):
        renamed = replace(other, name=f"other/{number}.md")
        assert not {chunk.id for chunk in splitter.split(renamed)} & set(alone)
    assert [chunk.id for chunk in splitter.split(document)] == alone


def test_a_passage_keeps_its_id_when_others_are_written_before_it() -> None:
    splitter = by_heading(max_words=12)
    body = "satu dua tiga empat lima enam tujuh delapan"
    before = splitter.split(document(f"# Biaya\n\n{body}\n\n# Asrama\n\n{body} sembilan\n"))
    after = splitter.split(
        document(f"# Baru\n\n{body} sepuluh\n\n# Biaya\n\n{body}\n\n# Asrama\n\n{body} sembilan\n")
    )
    assert [chunk.id for chunk in after[1:]] == [chunk.id for chunk in before]
    assert [chunk.ordinal for chunk in after] == [0, 1, 2]


def test_headings_stand_above_their_passages() -> None:
    text = "# Biaya\n\nUmum saja.\n\n## S1\n\n" + "kata " * 30 + "\n\n## S2\n\nAkhir."
    chunks = by_heading(max_words=20).split(document(text))
    assert [chunk.heading for chunk in chunks] == ["Biaya", "Biaya > S1", "Biaya > S1", "Biaya > S2"]
    assert chunks[0].text == "Biaya\n\nUmum saja."
    assert chunks[1].text.startswith("Biaya > S1\n\nkata kata")
    assert chunks[3].text == "Biaya > S2\n\nAkhir."


def test_short_neighbours_go_together_below_what_they_share() -> None:
    text = "# Biaya\n\n## S1\n\nLima juta.\n\n## S2\n\nEnam juta.\n\n# Asrama\n\n" + "kata " * 12
    chunks = by_heading(max_words=20).split(document(text))
    assert [chunk.heading for chunk in chunks] == ["Biaya", "Asrama"]
    assert chunks[0].text == "Biaya > S1\n\nLima juta.\n\nBiaya > S2\n\nEnam juta."
    joined = by_heading(max_words=220).split(document(text))
    assert len(joined) == 1
    assert joined[0].heading == ""


def test_cuts_are_made_between_paragraphs_lines_and_sentences() -> None:
    size = by_size(10)
    assert texts(size, "a b c d e f g.\n\nh i j k l m") == ["a b c d e f g.", "h i j k l m"]
    assert texts(size, "a b c d e f. g\nh i j k l m") == ["a b c d e f. g", "h i j k l m"]
    assert texts(size, "a b c d e f. g h i j k l") == ["a b c d e f.", "g h i j k l"]
    assert texts(size, "ما هذا؟ a b c d e f g h؟ i j k") == ["ما هذا؟ a b c d e f g h؟", "i j k"]
    assert texts(size, "a b c d e f g h i j k l") == ["a b c d e f g h i j", "k l"]


def test_overlap_begins_with_a_sentence_where_one_begins() -> None:
    assert texts(by_size(10, 4), "a b c d e f g. h i j k l m n") == [
        "a b c d e f g.",
        "d e f g. h i j k l m",
        "j k l m n",
    ]
    assert texts(by_size(6, 3), "a b c. d e. f g h i. j k l")[1].startswith("d e. f")


def test_a_title_stands_where_there_is_no_heading() -> None:
    document = Document("a.html", (Block(0, "Teks awal."), Block(1, "Judul"), Block(0, "Isi.")), "Nama")
    assert [chunk.text for chunk in by_heading(4).split(document)] == ["Nama\n\nTeks awal.", "Judul\n\nIsi."]
    assert by_heading().split(Document("a.md", (), "Only a title")) == []


def test_a_heading_too_long_to_be_one_is_text() -> None:
    chunks = by_heading(max_words=6).split(document("# satu dua tiga empat\n\nlima enam"))
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [("", "satu dua tiga empat\n\nlima enam")]


def test_a_line_without_spaces_is_cut_but_not_within_a_letter() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    for line in ("x" * 100_000, "e\u0301" * 20_000, family * 3000):
        chunks = by_size(20).split(Document("a", (Block(0, line),)))
        assert "".join(chunk.text for chunk in chunks) == line
        assert max(len(chunk.text) for chunk in chunks) <= 20 * LONGEST
        assert all(chunk.text[0] not in "\u0301\u200d" for chunk in chunks)


def test_equal_passages_of_one_document_have_ids_of_their_own() -> None:
    chunks = by_size(2).split(Document("a", (Block(0, "sama saja " * 5),)))
    assert len({chunk.text for chunk in chunks}) == 1
    assert len({chunk.id for chunk in chunks}) == 5


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, 50), (1, 1)])
def test_bounds_that_nothing_can_keep_to_are_refused(size: int, overlap: int) -> None:
    for name in ("by_heading", "by_size"):
        with pytest.raises(ConfigError, match=name):
            Splitter.of(CallPlan(name=name, arguments={"max_words": size, "overlap": overlap}))


def test_a_source_without_a_splitter_has_the_usual_one() -> None:
    assert Splitter.of(None) == Splitter(True, 220, 30)
