"""Documents from a folder, as passages.

    files = find_files(folder, "**/*.md", "docs").files
    splitter = Splitter.of(source.split)
    for file in files:
        for document in read_file(file):
            for chunk in splitter.split(document):
                ...

A file that cannot be used is a fault of the whole folder: the first is named and the others are
counted, and nothing is paid for before.  Empty documents are passed over.
"""

from synth.runtime.documents.document import Block, Document, Scalar
from synth.runtime.documents.faults import FileFaults, Unreadable
from synth.runtime.documents.find import MAX_BYTES, SUFFIXES, File, Found, find_files
from synth.runtime.documents.read import read_file
from synth.runtime.documents.split import Chunk, Splitter

__all__ = [
    "MAX_BYTES",
    "SUFFIXES",
    "Block",
    "Chunk",
    "Document",
    "File",
    "FileFaults",
    "Found",
    "Scalar",
    "Splitter",
    "Unreadable",
    "find_files",
    "read_file",
]
