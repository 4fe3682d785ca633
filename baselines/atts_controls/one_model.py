"""ATTS with one model in both roles: it drafts, scores itself and takes over unlikely turns."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from atts_harness.atts import ATTS, take_turns
from atts_harness.backend import Role
from atts_harness.drafts import Drafts
from atts_harness.strategy import Context, Outcome, RoleClient, Sample


class OneModel(ATTS):
    """The target in both roles: the control that shows what a second model adds to ATTS."""

    name: ClassVar[str] = "self"
    roles: ClassVar[tuple[Role, ...]] = ("target",)

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        alone = cast(Context, _Alone(ctx))
        options = self.options
        async with Drafts(alone, options, options.draft_ahead, self.top_logprobs) as drafts:
            return await take_turns(sample, alone, options, self.policy, drafts, options.signal)


class _Alone:
    """A context whose draft is the target."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.draft: RoleClient = ctx.target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)
