"""One file's documents, by the reader for its suffix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from synth.runtime.documents.decode import decode
from synth.runtime.documents.document import Block, Document
from synth.runtime.documents.faults import Unreadable
from synth.runtime.documents.find import MAX_BYTES, File
from synth.runtime.documents.html import read_html
from synth.runtime.documents.markdown import read_markdown
from synth.runtime.documents.pdf import read_pdf
from synth.runtime.documents.rows import read_rows


def read_file(file: File) -> Iterator[Document]:
    """A file's documents.  Raises Unreadable, at the first thing that cannot be used.

    The first folder on a file's path becomes the metadata `folder`, unless the document says
    something else of that name.
    """
    folder, slash, _ = file.name.partition("/")
    for document in _documents(file):
        yield replace(document, metadata={"folder": folder, **document.metadata}) if slash else document


def _documents(file: File) -> Iterator[Document]:
    suffix = PurePosixPath(file.name).suffix.lower()
    if suffix == ".jsonl":
        yield from read_rows(file.path, file.name)
        return
    data = _bytes(file)
    if suffix in (".md", ".markdown"):
        yield read_markdown(decode(data), file.name)
    elif suffix in (".html", ".htm"):
        yield read_html(data, file.name)
    elif suffix == ".pdf":
        yield read_pdf(data, file.name)
    else:
        yield Document(file.name, (Block(0, decode(data)),))


def _bytes(file: File) -> bytes:
    try:
        with file.path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(
            f"cannot be read ({error.strerror or error})", "ask for read permission on it"
        ) from None
    if len(data) > MAX_BYTES:
        raise Unreadable("grew while it was read", "run again once it is complete")
    return data
