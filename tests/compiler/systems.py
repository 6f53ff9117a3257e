"""The recipes that are shipped, and the revision that they leave open."""

from __future__ import annotations

from tests.kit.support import ROOT

RECIPES = ROOT / "recipes"
PILLARS, RAG, TURNS = (RECIPES / f"{name}.recipe" for name in ("pillars", "rag", "rag_turns"))
TEACHER = {"teacher_revision": "abc"}
