"""Processes for Python code that models wrote: one for each call, confined before it runs anything."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.runtime.functions.asked import Fault

_SCRIPT = Path(__file__).with_name("code.py")
_COMMAND = (sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_SCRIPT))
# Seconds that a process may take to begin.
_BEGIN_S = 120
# What code may leave in its folder, and how often that is looked at.
_MOST_BYTES, _MOST_FILES, _LOOK_S = 64 << 20, 1000, 0.2
_MOST_REPLY = 4096


@cache
def unfit() -> str | None:
    """Why this system cannot confine code, as a clause; None where it can.  It is tried, once."""
    if sys.platform != "linux":
        return f"code is confined on Linux alone, and this is {sys.platform}"
    folder = tempfile.mkdtemp(prefix="synth-code-")
    try:
        done = subprocess.run(
            _COMMAND,
            input=_request("", "", folder, 10, 512, "", probe=True),
            capture_output=True,
            timeout=_BEGIN_S,
            env={},
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"a confined process does not begin: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said = done.stdout.decode("utf-8", "replace").partition("\n")
    if said[1]:
        return said[0] or None
    return f"a confined process ends with status {done.returncode}"


def _request(
    code: str, tests: str, folder: str, seconds: float, memory: int, secret: str, probe: bool = False
) -> bytes:
    request = {
        "code": code,
        "tests": tests,
        "folder": folder,
        "seconds": seconds,
        "memory": memory,
        "secret": secret,
        "probe": probe,
    }
    return json.dumps(request).encode("ascii")


async def run_code(given: Mapping[str, Any]) -> tuple[str] | Fault:
    """The JSON of the reason why code fails with its tests, or of null; a Fault where another run may end
    otherwise."""
    tests = given.get("tests")
    if tests is None:
        try:
            tests = await asyncio.to_thread(Path(given["tests_file"]).read_text, "utf-8")
        except (OSError, ValueError) as error:
            return Fault(f"was not run: its tests cannot be read: {error}")
    seconds, secret = float(given["seconds"]), secrets.token_hex(16)
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="synth-code-")
    process = None
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        request = _request(given["code"], str(tests), folder, seconds, int(given["memory"]), secret)
        confined = await asyncio.wait_for(_begun(process, request), _BEGIN_S)
        if confined is None:
            return Fault(f"was not run: its process ended{_ending(await process.wait())}", lasting=False)
        if confined:
            return Fault(f"was not run: {confined}", lasting=False)
        return await _outcome(process, folder, seconds, secret.encode())
    except (TimeoutError, OSError) as error:
        return Fault(f"was not run: its process did not begin: {error}", lasting=False)
    finally:
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]
        await asyncio.to_thread(shutil.rmtree, folder, True)


async def _begun(process: asyncio.subprocess.Process, request: bytes) -> str | None:
    """Why a process cannot be confined, or nothing; None where it is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(request)
        await process.stdin.drain()
        process.stdin.close()
    line = await process.stdout.readline()
    return line.decode("utf-8", "replace").rstrip("\n") if line.endswith(b"\n") else None


async def _outcome(
    process: asyncio.subprocess.Process, folder: str, seconds: float, secret: bytes
) -> tuple[str] | Fault:
    assert process.stdout is not None
    reading = asyncio.ensure_future(_reply(process.stdout))
    try:
        end = asyncio.get_running_loop().time() + seconds
        while True:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return Fault(f"took longer than {seconds:g} s", lasting=False)
            done, _ = await asyncio.wait([reading], timeout=min(left, _LOOK_S))
            if done:
                break
            if await asyncio.to_thread(_holds_much, folder):
                return (canonical_json("writes more than its folder may hold"),)
        reply = reading.result()
    finally:
        reading.cancel()
    # Only what was never shown to the code says how it ended.
    if reply.startswith(secret + b"+"):
        return (canonical_json(None),)
    if reply.startswith(secret + b"-"):
        return (canonical_json(reply[len(secret) + 1 :].decode("utf-8", "replace")),)
    if len(reply) >= _MOST_REPLY:
        return (canonical_json("writes where its outcome is told"),)
    status = await asyncio.wait_for(process.wait(), _BEGIN_S)
    if status == -signal.SIGXFSZ:
        return (canonical_json("prints or writes more than 1 MiB"),)
    if status == -signal.SIGXCPU:
        return Fault(f"took longer than {seconds:g} s", lasting=False)
    said = f"ends its process{_ending(status)} before its tests end"
    # The system kills where memory is short, which may be otherwise another time.
    return Fault(said, lasting=False) if status == -signal.SIGKILL else (canonical_json(said),)


async def _reply(stream: asyncio.StreamReader) -> bytes:
    """What a process says until it ends; no more of it than an outcome takes."""
    found = b""
    while len(found) < _MOST_REPLY and (some := await stream.read(_MOST_REPLY)):
        found += some
    return found


def _holds_much(folder: str) -> bool:
    size = count = 0
    for place, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        for name in files:
            with suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size
        if size > _MOST_BYTES or count > _MOST_FILES:
            return True
    return False


def _ending(status: int) -> str:
    return f" by {signal.Signals(-status).name}" if status < 0 else f" with status {status}"
