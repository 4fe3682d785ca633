"""Problems for live sessions on mock engines."""

import asyncio

from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.strategy import Problem
from atts_harness.transcript import Message, Prompt

SETTINGS = {
    "strategy": "mock-turns",
    "backend": "mock",
    "draft": "d",
    "target": "t",
    "turns": 3,
    "ending": 0,
    "metrics_interval": 0,
}


def problem(doc=0, task="mock", text=None, max_tokens=1 << 12):
    words = text or f"Question {doc}?"
    prompt = Prompt((Message("user", words),))
    return Problem(task=task, doc=doc, prompt=prompt, prompt_hash=words, max_tokens=max_tokens)


def plain(records):
    """Texts and decisions."""
    return [(r.id, r.text, [d.takeover for d in r.decisions]) for r in records]


def serve(work, **settings):
    """Do `work(session)` in a session of the harness."""
    values = {**SETTINGS, **settings}
    if values["strategy"] != SETTINGS["strategy"]:
        del values["ending"]
    checked = parse_settings(values)

    async def all_of_it():
        async with Harness.serving(checked) as session:
            return await work(session)

    return asyncio.run(all_of_it())
