"""Nothing that this project loads tells anybody about its use.

Libraries read these when they are imported, and processes that they start inherit them, so they are
set before.  They are set whatever is there already: who uses this project has said nothing of it to
those libraries.
"""

from __future__ import annotations

import os

OFF = {
    # What several heed, and what is meant for one.
    "DO_NOT_TRACK": "1",
    "DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_XET_TELEMETRY_ENABLED": "0",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def switch_off() -> None:
    """Says so to all of them, in this process and those that it starts."""
    os.environ.update(OFF)
