"""What inspect_ai loads by its entry-point group `inspect_ai`: the provider, tasks and grader."""

from __future__ import annotations

from inspect_ai.hooks import hooks
from inspect_ai.model import modelapi

from atts_inspect.grader import grader
from atts_inspect.provider import AttsAPI, CloseSessions
from atts_inspect.tasks import register_tasks

__all__ = ["AttsAPI", "grader"]

modelapi(name="atts")(AttsAPI)
hooks(name="atts", description="Closes the sessions of atts models when a run ends.")(CloseSessions)
register_tasks()
