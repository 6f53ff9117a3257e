"""A recipe whose answers are lost, its settings and runs of it."""

from __future__ import annotations

import json
from contextlib import chdir
from hashlib import sha256
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from synth.cli import cli
from tests.kit.servers.answers import sentence
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result

RECIPE = """edition 1
recipe losses {{ seed = 1{losses} }}
model author: model<chat, json> from openai("any") {{ temperature = 0.5, max_tokens = 200 }}
schema Claim {{ claim: text }}
conversation c times {times} {{
  turn q: user = "Question {{{{ nth }}}}"
  turn a: model by author {{
    prompt = "Answer {{{{ q }}}}"
    {body}
  }}
}}
export t: messages from c to "out/t"
"""


def recipe(folder: Path, times: int, body: str, losses: str = "") -> Path:
    path = folder / "losses.recipe"
    path.write_text(RECIPE.format(times=times, body=body, losses=f", losses = {losses}" if losses else ""))
    return path


def configure(folder: Path, **options: Any) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    (folder / "synth.toml").write_text("\n".join(["[models.author]", 'backend = "openai"', *lines]))


def run(path: Path, server: OpenAIServer, *extra: str, command: str = "run") -> Result:
    """A command as it is given, in this process."""
    env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k", "COLUMNS": "100"}
    with chdir(path.parent):
        done = CliRunner().invoke(cli, [command, path.name, *extra], env=env)
    return Result(done.exit_code, done.stdout, done.stderr)


def passes(asked: Asked, one_in: int) -> bool:
    return int(sha256(asked.key.encode()).hexdigest()[:8], 16) % one_in == 0


def seldom(one_in: int) -> Any:
    """Answers of which one in so many begins with `Yes`."""
    return lambda asked: f"{'Yes' if passes(asked, one_in) else 'No'}, {sentence(asked.key)}"


YES = 'check { opens_with_any("Yes") }'
