"""PDF: the text that it holds, page by page."""

from __future__ import annotations

import logging
from io import BytesIO

from synth.base.extras import install
from synth.runtime.documents.decode import clean
from synth.runtime.documents.document import Block, Document
from synth.runtime.documents.faults import Unreadable


def read_pdf(data: bytes, name: str) -> Document:
    """A document from a PDF.  Raises Unreadable for one that is encrypted, damaged, or pictures only."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError
    except ImportError:
        raise Unreadable(
            "is a PDF, which needs `pypdf`, and that is not installed",
            install("documents"),
        ) from None
    # Its warnings about sloppy files would be written to the terminal.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(BytesIO(data))
        # Many are encrypted with no password, to forbid printing or copying only.
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("is encrypted", "save a copy without a password")
        pages = [clean(page.extract_text()).strip() for page in reader.pages]
        title = clean(str((reader.metadata and reader.metadata.title) or ""))
    except Unreadable:
        raise
    except DependencyError:
        raise Unreadable("is encrypted", "save a copy without a password") from None
    except Exception as fault:
        # What a damaged file does to a parser has no end of names.
        reason = " ".join(str(fault).split())[:100] or type(fault).__name__
        raise Unreadable(f"cannot be read as a PDF ({reason})", "save it again, or leave it out") from None
    if not any(pages):
        raise Unreadable(
            f"holds no text on its {len(pages)} page{'s' * (len(pages) != 1)}: they are pictures",
            "make the text readable by OCR first",
        )
    blocks = tuple(Block(0, page) for page in pages if page)
    return Document(name, blocks, " ".join(title.split()))
