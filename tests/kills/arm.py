"""Imported in a command's process: arms the shim to kill it, and counts its calls if it comes to its end.

What to do is JSON in KILLS: the `shim`, the folder `below` which calls count, the `kill` (kind of call,
number and moment, or null), and the file for the `counts`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
from pathlib import Path

OPS = ("write", "fsync", "rename", "unlink")
WHENS = ("before", "half", "after")


def _arm() -> None:
    asked = json.loads(os.environ["KILLS"])
    shim = ctypes.CDLL(asked["shim"])
    op, number, when = asked["kill"] or (None, 0, "before")
    shim.kills_arm(
        os.fsencode(asked["below"]),
        -1 if op is None else OPS.index(op),
        ctypes.c_long(number),
        WHENS.index(when),
    )

    def disarm() -> None:
        counts = {name: shim.kills_seen(index) for index, name in enumerate(OPS)}
        shim.kills_arm(b"", -1, ctypes.c_long(0), 0)
        Path(asked["counts"]).write_text(json.dumps(counts))

    atexit.register(disarm)


_arm()
