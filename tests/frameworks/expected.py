"""What the session says to the very requests that a client sent."""

from __future__ import annotations

import asyncio
import json

from atts_serve.catalogue import catalogue
from atts_serve.chat import read
from atts_serve.naming import named
from atts_serve.rooms import room_of

from atts_harness.running.harness import Harness
from tests.frameworks.conftest import MODEL, TASK, TURNS


def session_texts(bodies):
    """By body the text of `session.sample` for it; every body names its seed or its sample."""

    async def ask():
        served = catalogue(["atts"], MODEL | TURNS | {"max_gen_toks": 640}, task=TASK)
        settings = served.models["atts"].settings
        async with Harness.live(settings) as (session, models):
            strategies = {}

            async def text(body):
                asked = read(body)
                variation = served.variation(asked)
                room = room_of(variation, session, models, {})
                problem = named(asked, room, TASK).problem
                if variation.key not in strategies:
                    strategies[variation.key] = models.strategy(variation.task, {"task": TASK})
                record = await session.sample(problem, repeat=0, strategy=strategies[variation.key])
                return record.text

            return await asyncio.gather(*map(text, bodies))

    return dict(zip(bodies, asyncio.run(ask()), strict=True))


def equal(calls):
    """How many replies are the session's texts, of all.

    Args:
        calls: (body, reply) as the recorder has them, of whole answers with one choice.
    """
    texts = session_texts(list(dict.fromkeys(body for body, _ in calls)))
    same = 0
    for body, reply in calls:
        (choice,) = json.loads(reply)["choices"]
        same += choice["atts"]["text"] == texts[body]
    return same, len(calls)
