"""What is read from each kind of file."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.documents import Block, Document, Unreadable
from synth.runtime.documents.decode import clean
from synth.runtime.documents.html import read_html
from synth.runtime.documents.markdown import front_matter, read_markdown
from tests.documents.helpers import encrypted_pdf, lay, pdf, read_folder, refusal

MARKDOWN = """\
# Biaya *kuliah*

Lima juta.

Cicilan [tiga kali](x.html)
---------------------------

```sh
# not a heading
```

- # nor this
> # nor that

    # nor code

## مصاريف `S1` ##
Akhir.
"""


def one(folder: Path, name: str, content: str | bytes) -> Document:
    (document,) = read_folder(lay(folder, {name: content}))
    return document


def text_of(document: Document) -> str:
    return "\n\n".join(block.text for block in document.blocks)


def test_markdown_gives_its_own_headings(tmp_path: Path) -> None:
    document = one(tmp_path, "a.md", MARKDOWN)
    assert [block for block in document.blocks if block.level] == [
        Block(1, "Biaya kuliah"),
        Block(2, "Cicilan tiga kali"),
        Block(2, "مصاريف S1"),
    ]
    text = text_of(document)
    for kept in ("Lima juta.", "# not a heading", "- # nor this", "> # nor that", "    # nor code", "Akhir."):
        assert kept in text


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    content = (
        '---\ntitle: "Biaya"\nyear: 2024\nnim: 007\nopen: true\ntags: [a, "b c"]\nfor:\n  - S1\n  - S2\n'
        "# a comment\nnested:\n  deep: x\nlink: https://x.y/z\n---\n# Biaya\n\nText.\n"
    )
    document = one(tmp_path, "fees/a.md", content)
    assert document.title == "Biaya"
    assert document.metadata == {
        "folder": "fees",
        "year": 2024,
        "nim": "007",
        "open": True,
        "tags": "a, b c",
        "for": "S1, S2",
        "link": "https://x.y/z",
    }
    assert "Text." in text_of(document)
    assert "year" not in text_of(document)


@pytest.mark.parametrize(
    "text",
    ["---\n\nA rule above.\n\n---\n", "---\nkey: value\n", "--- \nno pair\n---\n", "text\n---\na: b\n---\n"],
)
def test_what_is_no_front_matter_stays_text(text: str) -> None:
    assert front_matter(text) == ({}, text)


def test_the_first_folder_is_metadata_unless_the_document_says_otherwise(tmp_path: Path) -> None:
    lay(tmp_path, {"a/b/c.txt": "x", "d.txt": "x", "e/f.md": "---\nfolder: g\n---\nx"})
    assert [document.metadata for document in read_folder(tmp_path)] == [
        {"folder": "a"},
        {},
        {"folder": "g"},
    ]


@given(st.text(alphabet="#- \n`>|:*+=~_.ab1\t", max_size=200))
def test_no_letter_of_markdown_is_lost(text: str) -> None:
    metadata, rest = front_matter(text)
    document = read_markdown(text, "a.md")
    read = "".join(block.text for block in document.blocks)
    assert [char for char in read if char.isalnum()] == [char for char in rest if char.isalnum()]
    assert metadata.keys() >= document.metadata.keys()


def test_text_in_any_marked_encoding_is_read(tmp_path: Path) -> None:
    text = "Biaya naïf: خمسة"
    lay(
        tmp_path,
        {
            "a.txt": text.encode("utf-8-sig"),
            "b.txt": text.encode("utf-16"),
            "c.txt": text.encode("utf-32"),
            "d.txt": f"one\r\ntwo\rthree\x0b\u2028{text}\x00".replace("\x00", ""),
        },
    )
    texts = [text_of(document) for document in read_folder(tmp_path)]
    assert texts == [text, text, text, f"one\ntwo\nthree \n{text}"]


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, {"a.txt": b"MZ\x00\x01"})
    assert "docs/a.txt` is a binary file: it holds NUL bytes" in refusal(tmp_path)
    lay(tmp_path, {"a.txt": "satu\n\u062e\u0645\u0633\u0629".encode("cp1256")})
    sentence = refusal(tmp_path)
    assert "docs/a.txt` is not UTF-8 (line 2: byte 0xCE at column 1; it looks like Windows-1256" in sentence
    lay(tmp_path, {"a.txt": b"\xff\xfeabc"})
    assert "is not the UTF-16-LE that it says it is" in refusal(tmp_path)


@given(st.text())
def test_clean_text_can_be_kept_anywhere(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert not set(cleaned) & {"\0", "\r", "\x1b", "\u2028"}
    assert clean(cleaned) == cleaned


PAGE = """<html><head><title>Alur &amp; biaya</title><meta name="author" content="UNSIQ">
<style>p{}</style></head><body><nav>Menu</nav><h1>Alur <b>pendaftaran</b></h1>
<p>Satu<br>dua <i>ti</i>ga.</p><script>bad()</script><ul><li>a<li>b</ul>
<table><tr><th>S1<td>5&nbsp;juta<tr><td>S2</table><h2></h2><h2>Lain</h2><pre>x
  y</pre><div>z<p>akhir</div><svg><text>no</text></svg><footer>c 2024</footer></body></html>"""


def test_html_gives_headings_and_text_without_the_frame(tmp_path: Path) -> None:
    document = one(tmp_path, "a.html", PAGE)
    assert document.title == "Alur & biaya"
    assert document.metadata == {"author": "UNSIQ"}
    assert document.blocks == (
        Block(1, "Alur pendaftaran"),
        Block(0, "Satu\ndua tiga.\n\na\nb\n\nS1 5 juta\nS2"),
        Block(2, "Lain"),
        Block(0, "x\n  y\n\nz\n\nakhir"),
    )


def test_html_is_read_in_the_encoding_it_names() -> None:
    page = '<html><head><meta charset="windows-1256"></head><body>خمسة</body></html>'
    assert read_html(page.encode("cp1256"), "a.html").blocks == (Block(0, "خمسة"),)
    # A name that is none, or one for no text, means what browsers mean.
    for named in ("nonsense", "rot13", "utf-16", "idna"):
        page = f'<html><head><meta charset="{named}"></head><body>abc</body></html>'
        assert read_html(page.encode(), "a.html").blocks == (Block(0, "abc"),)


@given(st.binary(max_size=200) | st.text(alphabet='<>/hp1 abc"=!-&;', max_size=200).map(str.encode))
def test_hostile_html_is_read_or_refused(data: bytes) -> None:
    with suppress(Unreadable):
        assert all(block.text.strip() for block in read_html(b"<body>" + data, "a.html").blocks)


def test_html_that_is_nested_deeper_than_calls_is_read(tmp_path: Path) -> None:
    document = one(tmp_path, "a.html", "<div>" * 50_000 + "dalam")
    assert text_of(document) == "dalam"


def test_pdf_gives_its_pages(tmp_path: Path) -> None:
    document = one(tmp_path, "a.pdf", pdf("Biaya (S1) lima juta.", "", "Akhir."))
    assert document.blocks == (Block(0, "Biaya (S1) lima juta."), Block(0, "Akhir."))


def test_a_pdf_that_opens_without_a_password_is_read(tmp_path: Path) -> None:
    assert text_of(one(tmp_path, "a.pdf", encrypted_pdf(""))) == "A secret fee."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encrypted_pdf("secret"), "is encrypted: save a copy without a password"),
        (pdf("", ""), "holds no text on its 2 pages: they are pictures: make the text readable by OCR first"),
        (b"not a PDF", "cannot be read as a PDF"),
        (b"", "cannot be read as a PDF"),
        (pdf("Biaya.")[:200], "cannot be read as a PDF"),
        (pdf("x", trailer=b"/Encrypt 99 0 R"), "docs/a.pdf` "),
    ],
)
def test_a_pdf_that_gives_no_text_is_refused(
    tmp_path: Path, data: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lay(tmp_path, {"a.pdf": data, "b.md": "text"})
    assert reason in refusal(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "module"), [("a.pdf", "pypdf"), ("a.html", "selectolax")])
def test_a_missing_reader_is_one_sentence(
    tmp_path: Path, name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in [module, *(known for known in sys.modules if known.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, package, None)
    lay(tmp_path, {name: pdf("Biaya.")})
    sentence = refusal(tmp_path)
    assert (
        f"needs `{module}`, and that is not installed: pip install 'pypdf<8,>=7' 'selectolax>=1.0'"
        in sentence
    )


def test_jsonl_gives_a_document_a_line(tmp_path: Path) -> None:
    rows = [
        {"text": "Lima juta.", "title": "Biaya", "id": "s1", "year": 2024, "tags": ["a"], "gone": None},
        {"text": "\ud800 rusak", "metadata": {"unit": "BAK", "share": 0.5}, "big": 10**40},
    ]
    first, second = read_folder(lay(tmp_path, {"x/rows.jsonl": "\n\n".join(json.dumps(row) for row in rows)}))
    assert (first.name, first.title, text_of(first)) == ("x/rows.jsonl#s1", "Biaya", "Lima juta.")
    assert first.metadata == {"folder": "x", "year": 2024, "tags": '["a"]'}
    assert (second.name, text_of(second)) == ("x/rows.jsonl#3", "\ufffd rusak")
    assert second.metadata == {"folder": "x", "unit": "BAK", "share": 0.5, "big": str(10**40)}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('{"text": "a"}\n{"txt": "b"}', "line 2 has no `text` that is a text"),
        ('{"text": 3}', "line 1 has no `text` that is a text"),
        ('{"text": "a", "id": "x"}\n{"text": "b", "id": "X"}', "line 2 has the id `X` of line 1"),
        ('{"text": "a", "id": [1]}', "line 1 has an `id` that is neither"),
        ('{"text": "a"', "line 1 is not JSON"),
        ('"a"', "line 1 is no object"),
        ("\udcff", "line 1 is not UTF-8"),
    ],
)
def test_a_row_that_is_no_document_is_refused(tmp_path: Path, lines: str, reason: str) -> None:
    lay(tmp_path, {"a.jsonl": lines.encode("utf-8", "surrogateescape")})
    assert reason in refusal(tmp_path)


def test_one_bad_file_refuses_all_and_the_others_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, {"a.md": "good", "b.txt": b"\x00", "c.txt": b"\xff", "d.pdf": b"x"})
    sentence = refusal(tmp_path)
    assert sentence.startswith("`docs/b.txt` is a binary file")
    assert sentence.endswith("; 2 more files have faults")


def test_markdown_with_a_line_of_a_megabyte_is_read(tmp_path: Path) -> None:
    long = "![" * 250_000 + "`*_" * 100_000
    assert text_of(one(tmp_path, "a.md", f"# A\n\n{long}\n")).strip().endswith(long)
