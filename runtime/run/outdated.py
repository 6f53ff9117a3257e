"""Files of sources that are not as the log has read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synth.base.errors import ConfigError
from synth.compiler.plan.model import Plan, SourcePlan
from synth.runtime.sources.hashes import quick_hash
from synth.runtime.sources.locate import locate
from synth.store.dataset.inputs.sources import SourceVersion, last_version
from synth.store.log.log import Log


def outdated(plan: Plan, log: Log, allowed: Sequence[Path] = ()) -> list[str]:
    """A sentence for each source of which the log has another version than its files hold now.

    Nothing is said of what cannot be found, nor of large files that keep their size and that nobody read
    since they changed.
    """
    found = []
    with log.cursor() as cursor:
        for source in plan.sources:
            version = last_version(plan, source, cursor, log.next_seq)
            if version is None:
                continue
            try:
                told = _of_documents if source.type == "chunk" else _of_files
                name = told(plan, source, version, allowed)
            except (ConfigError, OSError):
                continue
            if name is not None:
                found.append(
                    f"{name} is not what the log has read of `{source.name}`: `synth run` takes it as it is"
                )
    return found


def _of_files(plan: Plan, source: SourcePlan, version: SourceVersion, allowed: Sequence[Path]) -> str | None:
    located = locate(plan, source, allowed)
    if [file.name for file in located.files] != [file["path"] for file in version.files]:
        return located.name
    for file, before in zip(located.files, version.files, strict=True):
        if file.path.stat().st_size != before["bytes"]:
            return file.name
        hash_ = quick_hash(file.path)
        if hash_ is not None and hash_ != before["sha256"]:
            return file.name
    return None


def _of_documents(
    plan: Plan, source: SourcePlan, version: SourceVersion, allowed: Sequence[Path]
) -> str | None:
    from synth.runtime.retrieval.folder import open_corpus
    from synth.runtime.run.passages import segment_name

    corpus = open_corpus(source, plan.folder, allowed)
    now = {segment_name(corpus, segment): segment.stamp for segment in corpus.segments()[0]}
    before = {file["path"]: file["sha256"] for file in version.files}
    return next((name for name in sorted(now | before) if now.get(name) != before.get(name)), None)
