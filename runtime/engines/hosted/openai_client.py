"""Where the `openai` client would go and by which headers, without importing it.

Importing it takes a third of a second, for a handful of settings.  That these are the settings of
the client that is installed is a test's business.  Only who calls is said as it is: the client names
itself, and here that would be a lie.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from synth.base.errors import EngineError
from synth.base.version import VERSION, package_version
from synth.runtime.engines.wire.address import require_address

DEFAULT_URL = "https://api.openai.com/v1"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def address(given: str | None) -> str:
    """The URL that paths are put after: the one given, else the environment's, else OpenAI's own.

    Raises EngineError when it is no address, or more than one.
    """
    found = given or os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL
    return require_address(found, "base_url" if given else "OPENAI_BASE_URL")


def headers(key: str) -> dict[str, str]:
    """What goes with every request.  What the environment has in OPENAI_CUSTOM_HEADERS, a header a
    line, takes the place of anything else.  Raises EngineError for what is no header."""
    custom = _custom()
    own = {
        "Authorization": f"Bearer {key}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": f"synth/{VERSION} aiohttp/{package_version('aiohttp')}",
    }
    variables = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    places = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
    # The client's own order, in which a custom header of another case gives way to a variable.
    said = {**own, **custom, **places, **custom}
    # Names of headers are alike whatever their case; the last one stands.
    return dict({name.lower(): (name, value) for name, value in said.items()}.values())


def own(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the headers that are somebody's own: the places in an account, and custom ones."""
    known = {name.lower() for name in (*_custom(), "OpenAI-Organization", "OpenAI-Project")}
    return {name: value for name, value in headers.items() if name.lower() in known}


def _custom() -> dict[str, str]:
    lines = (line.partition(":") for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n"))
    found = {name.strip(): value.strip() for name, colon, value in lines if colon and name.strip()}
    if not all(_TOKEN.fullmatch(name) and value.isprintable() for name, value in found.items()):
        raise EngineError("OPENAI_CUSTOM_HEADERS holds what is no header: give `Name: value`, one on a line")
    return found
