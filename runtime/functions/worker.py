"""A process that calls Python functions, one at a time.  It is run as a script and imports nothing of ours.

Requests and replies are JSON behind four bytes of its length, on what are its standard input and output
when it begins.  What functions read and print is connected to nothing.  It ends when its input does.
"""

import importlib
import json
import math
import os
import pathlib
import signal
import struct
import sys
import threading
import types
from typing import Any, BinaryIO

# The name under which the project's folder is a package.
PROJECT = "_project"
# And the one of what runs what was written.
RUNNING = "_running"
MOST_BYTES = 1 << 20


def main() -> None:
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    setup = receive(requests)
    prepare(setup)
    begun = threading.Semaphore(0)
    waiting: list[Any] = []

    def listen() -> None:
        # Beside what is called, so that a parent that is gone is noticed during it.
        while (request := receive(requests)) is not None:
            waiting.append(request)
            begun.release()
        end()

    threading.Thread(target=listen, daemon=True).start()
    own = os.getpid()
    while True:
        begun.acquire()
        reply = call(waiting.pop(0), setup["seconds"])
        if os.getpid() != own:
            # What was called has made a process, and this is it.
            os._exit(0)
        reply["children"] = has_children()
        content = json.dumps(reply).encode("ascii")
        replies.write(struct.pack(">I", len(content)) + content)
        replies.flush()


def prepare(setup: dict[str, Any]) -> None:
    # Killed by the system where Python has no say any more, such as within one long search of `re`.
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (setup["memory"], setup["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass
    sys.path[:] = setup["path"]
    for name, place in ((PROJECT, setup["root"]), (RUNNING, setup["running"])):
        package = types.ModuleType(name)
        package.__path__ = [place]
        sys.modules[name] = package


def call(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    try:
        module = importlib.import_module(request["module"])
        if "function" not in request:
            return {"value": ""}
        function = getattr(module, request["function"])
    except BaseException as fault:
        return {"unusable": told(fault)}
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)
    try:
        named = {name: given(value, name in request["paths"]) for name, value in request["arguments"]}
        count = getattr(getattr(function, "__code__", None), "co_posonlyargcount", 0)
        places = [named.pop(name) for name in list(named)[:count]]
        value = function(*places, **named)
    except BaseException as fault:
        return {"raised": told(fault)}
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        content = json.dumps(plain(value), allow_nan=False)
    except RecursionError:
        return {"faulty": "gives what holds itself, or nests too deeply"}
    except (MemoryError, TypeError, ValueError) as fault:
        return {"faulty": str(fault)[:200] or "gives more than fits into memory"}
    except BaseException as fault:
        return {"raised": told(fault)}
    if len(content) > MOST_BYTES:
        return {"faulty": f"gives {len(content):,} bytes of JSON, and 1 MiB is the most"}
    return {"value": content}


def given(value: Any, is_path: bool) -> Any:
    return pathlib.Path(value) if is_path and value is not None else value


def plain(value: Any) -> Any:
    """What JSON has, of what a function gave.  Raises TypeError and ValueError, in words."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("gives text with half a character in it, which is no text") from None
        return text
    if isinstance(value, int):
        number = int(value)
        if not -(1 << 63) <= number < 1 << 63:
            raise ValueError("gives a whole number of more than 64 bits")
        return number
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"gives {float(value)}, which is no number")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, pathlib.PurePath):
        return plain(str(value))
    if isinstance(value, dict):
        found = {}
        for name, each in value.items():
            if not isinstance(name, str):
                raise TypeError(f"gives a record with a name that is no text, but {type(name).__name__}")
            found[plain(name)] = plain(each)
        return found
    raise TypeError(f"gives a value of the type {type(value).__name__}, which JSON does not have")


def told(fault: BaseException) -> str:
    try:
        said = " ".join(str(fault).split())
    except BaseException:
        said = ""
    said = said[:300].encode("utf-8", "replace").decode("utf-8")
    return f"{type(fault).__name__}: {said}" if said else type(fault).__name__


def has_children() -> bool:
    if not hasattr(os, "WNOHANG"):
        return False
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    except OSError:
        return False
    return True


def receive(stream: BinaryIO) -> Any:
    head = stream.read(4)
    if len(head) < 4:
        return None
    content = stream.read(struct.unpack(">I", head)[0])
    return json.loads(content)


def end() -> None:
    """Ends this process and all that it began, which are a group of their own."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
