"""Folders of documents, and what is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from synth.base.errors import ConfigError
from synth.compiler.plan.steps import CallPlan
from synth.runtime.documents import Document, Splitter, find_files, read_file
from synth.runtime.documents.faults import FileFaults, Unreadable


def lay(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes files below a folder, by their paths there."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def read_folder(folder: Path, glob: str = "**/*") -> list[Document]:
    """All documents of a folder, in order.  Raises ConfigError as an ingestion does."""
    faults = FileFaults("docs")
    documents = []
    for file in find_files(folder, glob, "docs").files:
        try:
            documents += list(read_file(file))
        except Unreadable as fault:
            faults.add(file.name, fault.what, fault.remedy)
    faults.raise_any()
    return documents


def refusal(folder: Path, glob: str = "**/*") -> str:
    """The one sentence for a folder that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        read_folder(folder, glob)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


def by_heading(max_words: int = 220, overlap: int = 0) -> Splitter:
    return Splitter.of(CallPlan(name="by_heading", arguments={"max_words": max_words, "overlap": overlap}))


def by_size(max_words: int = 220, overlap: int = 0) -> Splitter:
    return Splitter.of(CallPlan(name="by_size", arguments={"max_words": max_words, "overlap": overlap}))


def pdf(*pages: str, extra: bytes = b"", trailer: bytes = b"") -> bytes:
    """A PDF whose pages say so much; an empty page draws nothing."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    catalog, tree = add(b""), add(b"")
    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for page in pages:
        escaped = page.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        draw = f"BT /F1 12 Tf 72 720 Td ({escaped}) Tj ET" if page else ""
        content = add(f"<< /Length {len(draw)} >>\nstream\n{draw}\nendstream".encode("latin-1"))
        kids.append(
            add(
                f"<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 612 792] /Contents {content} 0 R "
                f"/Resources << /Font << /F1 {font} 0 R >> >> >>".encode()
            )
        )
    objects[catalog - 1] = f"<< /Type /Catalog /Pages {tree} 0 R >>".encode()
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    objects[tree - 1] = f"<< /Type /Pages /Kids [{listed}] /Count {len(kids)} >>".encode()
    if extra:
        add(extra)
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root %d 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        catalog,
        trailer,
        start,
    )
    return bytes(out)


def encrypted_pdf(password: str) -> bytes:
    """A PDF that opens with a password only; the empty one opens for everybody."""
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter()
    writer.append(PdfReader(BytesIO(pdf("A secret fee."))))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()
