"""What a peer is told before it is imported: report nothing, look nothing up, keep to the job's folder."""

from __future__ import annotations

import os
from pathlib import Path

from bench.lib.workload import Job

# Each tool reads its own at import.
_SWITCHES = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "CURATOR_VIEWER": "0",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "TQDM_DISABLE": "1",
    # The table of prices that the package brings, instead of today's.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def confine(job: Job) -> Path:
    """Sets the switches, and gives tools that keep something in a home a home of their own: a folder
    beside the job's output, which a second run of the same job finds again."""
    home = job.out.with_suffix("").absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(_SWITCHES)
    for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "DATA_DESIGNER_HOME", "CURATOR_CACHE_DIR"):
        os.environ[name] = str(home)
    return home
