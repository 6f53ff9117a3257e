"""What an index is made from: the files of a folder, or a table that somebody else made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.base.files import file_hash
from synth.compiler.plan.model import SourcePlan
from synth.runtime.documents import File, Splitter, find_files, read_file
from synth.runtime.documents.paths import inside_project
from synth.runtime.retrieval.corpus import Corpus, Passages, Segment


def open_corpus(source: SourcePlan, folder: Path, allowed: Sequence[Path]) -> Corpus:
    """The corpus that a source of chunks reads; paths are relative to `folder`.

    Raises ConfigError for a path outside the project that is not `allowed`, and for bounds of the
    splitter that nothing can keep to.
    """
    written = str(source.reader.arguments["path"])
    path = inside_project(folder, written, allowed, f"source `{source.name}`")
    if source.reader.name == "lancedb":
        from synth.runtime.retrieval.foreign import ForeignTable

        return ForeignTable(path, visible(written), source)
    glob = str(source.reader.arguments["glob"])
    return FolderCorpus(path, visible(written), glob, Splitter.of(source.split), allowed)


class FolderCorpus:
    """The documents of a folder; a part is a file, stamped by the sha256 of its bytes."""

    def __init__(
        self, folder: Path, label: str, glob: str, splitter: Splitter, allowed: Sequence[Path]
    ) -> None:
        self.label = label
        self.settings = ["folder", splitter.by_heading, splitter.max_words, splitter.overlap]
        self._folder = folder
        self._glob = glob
        self._splitter = splitter
        self._allowed = allowed

    def segments(self) -> tuple[list[Segment], list[str]]:
        listing = find_files(self._folder, self._glob, self.label, self._allowed)
        warnings = []
        if listing.passed_over:
            kinds = ", ".join(
                f"{n} {visible(s) or 'without a suffix'}" for s, n in listing.passed_over.most_common(5)
            )
            count = listing.passed_over.total()
            warnings.append(
                f"{count} file{'s' * (count != 1)} in {quoted(self.label, 200)} "
                f"{'are' if count != 1 else 'is'} of no kind that is read, and left out: {kinds}"
            )
        return [Segment(file.name, _hash(file, self.label), file) for file in listing.files], warnings

    def read(self, segment: Segment) -> Iterator[Passages]:
        for document in read_file(segment.origin):
            yield Passages(document.name, self._splitter.split(document))


def _hash(file: File, folder: str) -> str:
    try:
        return file_hash(file.path)
    except OSError as error:
        raise ConfigError(
            f"{quoted(f'{folder}/{file.name}', 200)} cannot be read ({error.strerror or error}): "
            "ask for read permission on it"
        ) from None
