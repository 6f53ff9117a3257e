"""Who a checkpoint in a folder is: a digest of the files that decide what it answers.

A folder's path names no weights: another training run may have written it since.  So where no
revision is given, the digest does.  Gigabytes are hashed once: what a file's bytes come to is kept
in the user's cache, by the file's path, size, times and inode, each in a file of its own that
appears whole, so that several processes can use it side by side.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

from synth.base.canonical import digest
from synth.base.errors import EngineError
from synth.base.files import file_hash

# What a trainer leaves beside a checkpoint without its being any part of it.
_APART = (
    *("training_args.bin", "optimizer*", "scheduler*", "rng_state*", "scaler*", "trainer_state.json"),
    *("*_results.json", "dataset_info.json", "train_*.json", "events.out.*"),
)
_PART = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.gguf"),
    *("*.json", "*.model", "*.jinja", "vocab.txt", "merges.txt", "*.tiktoken"),
)
_BLOCK = 1 << 20
# A file may change again within one tick of the clock that its times are from.
_SETTLED_NS = 2_000_000_000

Stamp = tuple[int, int, int, int]


def cache_folder() -> Path:
    """Where what can be made again is kept for this user."""
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    home = os.environ.get(variable)
    return (Path(home) if home else Path.home() / ".cache") / "synth"


def is_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or Path(name).is_absolute()


def require_checkpoint(model: str, name: str, *, adapter: bool = False) -> None:
    """Raises EngineError, in one sentence, for a path at which there is no checkpoint.

    `name` is a folder or a name on the model hub, which is not looked at.
    """
    path, what = Path(name), "adapter" if adapter else "checkpoint"
    if path.is_file():
        raise EngineError(f"`{model}` is to run on `{name}`, which is a file: give the folder that it is in")
    if not path.is_dir():
        if is_path(name):
            there = path.expanduser()
            told = f": write it out, `{there}`" if name.startswith("~") and there.is_dir() else ""
            raise EngineError(f"`{model}` is to run on `{name}`, and there is no such directory{told}")
        return
    wanted = ("adapter_config.json",) if adapter else ("config.json", "params.json")
    if any((path / each).is_file() for each in wanted):
        return
    fault = f"`{model}` is to run on `{name}`, which holds no {wanted[0]}"
    if not adapter and (path / "adapter_config.json").is_file():
        raise EngineError(
            f"{fault}: it is an adapter, so give the model it was trained on, with this folder as its "
            "`adapter` (backend vllm), or merge the two"
        )
    inner = sorted(each.parent for each in path.glob(f"*/{wanted[0]}"))
    last = max(inner, key=lambda each: each.stat().st_mtime, default=None)
    raise EngineError(
        f"{fault}: "
        + (f"did you mean `{Path(name) / last.name}`?" if last else f"give the folder of a saved {what}")
    )


def weights_digest(*folders: Path) -> str:
    """sha256, in hex, over the weights, the configuration and the tokenizer in some folders."""
    return digest([[[name, sha] for name, sha in _files(folder)] for folder in folders])


def _files(folder: Path) -> list[tuple[str, str]]:
    """The files of a checkpoint by their paths in it, with the sha256 of each."""
    found = []
    for parent, folders, files in os.walk(folder):
        # The checkpoints on the way to this one are others.
        folders[:] = sorted(name for name in folders if not name.startswith((".", "checkpoint-", "runs")))
        for name in sorted(files):
            if any(fnmatch(name, each) for each in _PART) and not any(fnmatch(name, each) for each in _APART):
                found.append(Path(parent, name))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        hashes = list(threads.map(_sha256, found))
    names = (path.relative_to(folder).as_posix() for path in found)
    return sorted(zip(names, hashes, strict=True))


def _sha256(path: Path) -> str:
    real = path.resolve()
    stamp = _stamp(real)
    place = cache_folder() / "weights" / f"{sha256(os.fsencode(real)).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(place.read_bytes())
        if tuple(known["stamp"]) == stamp:
            return str(known["sha256"])
    try:
        found = file_hash(real)
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror or error}): check the file") from None
    if _stamp(real) != stamp:
        raise EngineError(f"{path} changed while it was read: run again once nothing writes to it")
    if time.time_ns() - max(stamp[1:3]) > _SETTLED_NS:
        _keep(place, {"path": str(real), "stamp": stamp, "sha256": found})
    return found


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror or error}): check the file") from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _keep(place: Path, entry: dict[str, object]) -> None:
    """A cache that cannot be written costs the next start its time, and nothing else."""
    partial = place.with_name(f"{place.name}.{os.getpid()}.{time.monotonic_ns()}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(entry), "utf-8")
        partial.replace(place)
