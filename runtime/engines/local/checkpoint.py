"""A checkpoint on disk or on the model hub: its tokenizer, and why it cannot be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from pydantic import ValidationError

from synth.base.errors import EngineError, ExtraMissing
from synth.runtime.engines.base import EngineSpec
from synth.runtime.engines.local.weights import require_checkpoint, weights_digest

# How long the model hub may take to be reached, in seconds.
_REACHED_S = 5.0


def require(backend: str, extra: str, *modules: str) -> None:
    """Raise `ExtraMissing` for the first module that cannot be imported."""
    for module in modules:
        if find_spec(module) is None:
            raise ExtraMissing(backend, extra, module)


def load_tokenizer(spec: EngineSpec) -> Any:
    """The fast tokenizer of `spec.id` at `spec.revision`.  Raises `EngineError`."""
    require_checkpoint(spec.name, spec.id)
    if spec.adapter is not None:
        require_checkpoint(spec.name, spec.adapter, adapter=True)
    # Takes seconds, so not before it is known what for.
    from transformers import AutoTokenizer

    try:
        with _offline_where_nobody_answers(spec.id):
            return AutoTokenizer.from_pretrained(spec.id, revision=spec.revision or "main")
    except (OSError, ValueError, KeyError) as fault:
        raise cannot_load(spec, fault) from fault


@contextmanager
def _offline_where_nobody_answers(name: str) -> Iterator[None]:
    """Looks only on this machine for a model whose hub cannot be reached: its client would ask again
    for a minute, for each of a model's files, and tell the terminal of it in its own words."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or Path(name).is_dir() or getproxies() or _answers(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _answers(address: str) -> bool:
    """Whether anybody listens at an address."""
    try:
        place = urlsplit(address)
        port = place.port or (80 if place.scheme == "http" else 443)
        socket.create_connection((place.hostname or "", port), _REACHED_S).close()
    except (OSError, ValueError):
        return False
    return True


def named_weights(spec: EngineSpec) -> str | None:
    """The digest of the folders that a model is read from, where nothing else names what is in them.

    None where a revision does, and for what comes from the model hub.  Raises `EngineError`.
    """
    folders = []
    if spec.revision is None:
        require_checkpoint(spec.name, spec.id)
        folders += [Path(spec.id)] if Path(spec.id).is_dir() else []
    if spec.adapter is not None:
        require_checkpoint(spec.name, spec.adapter, adapter=True)
        folders += [Path(spec.adapter)] if Path(spec.adapter).is_dir() else []
    return weights_digest(*folders) if folders else None


def cannot_load(spec: EngineSpec, fault: BaseException) -> EngineError:
    """One sentence for an exception raised while a checkpoint was looked up or read."""
    from huggingface_hub import errors

    model = f"`{spec.id}`"
    causes = list(_chain(fault))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if caused_by(errors.GatedRepoError):
        return EngineError(f"{model} is gated: accept its licence on the model hub and set HF_TOKEN")
    if caused_by(errors.RevisionNotFoundError):
        return EngineError(f"{model} has no revision `{spec.revision}`: give a commit, branch or tag of it")
    if caused_by(errors.RepositoryNotFoundError):
        return EngineError(
            f"the model hub has no {model}, or it is private: check the spelling, or set HF_TOKEN"
        )
    if caused_by(errors.HFValidationError):
        return EngineError(f"{model} is neither a directory nor a model's name such as `owner/name`")
    if caused_by(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        at = f" at revision `{spec.revision}`" if spec.revision else ""
        return EngineError(
            f"{model}{at} is not on this machine (no folder here, no downloaded model) and the model hub "
            "cannot be reached: go online once, or give the path of a downloaded checkpoint"
        )
    return EngineError(f"{model} cannot be loaded by the {spec.backend} backend: {first_line(fault)}")


def first_line(fault: BaseException) -> str:
    """The start of an exception's message, or its type's name when it has none."""
    # Its first line only counts what is wrong.
    told = fault.errors()[0]["msg"] if isinstance(fault, ValidationError) else str(fault)
    lines = told.strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else type(fault).__name__


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__
