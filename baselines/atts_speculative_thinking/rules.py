"""The rules of speculative thinking under their published field names, with published values."""

from __future__ import annotations

from typing import Annotated

import msgspec

Tokens = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Keywords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that are searched in lower-cased text, inside words too (`check` in `checking`)."""

    verify: tuple[str, ...] = ("verify", "think again", "recap", "check")
    negative: tuple[str, ...] = ("wait", "alternatively", "hold on", "another")
    positive: tuple[str, ...] = ("yeah", "yes", "final answer", "confident")


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the target is asked, and how much it writes."""

    TRIGGER_TOKENS: Annotated[
        Annotated[tuple[str, ...], msgspec.Meta(min_length=1)],
        msgspec.Meta(description="texts that end a free run and call for a look"),
    ] = ("\n\n",)
    TARGET_VALIDATION_KEYWORDS: Annotated[
        Keywords, msgspec.Meta(description="verify, negative and positive words")
    ] = Keywords()
    free_tokens: Annotated[
        Tokens, msgspec.Meta(description="most tokens of a free run of the draft")
    ] = 1024
    max_target_tokens: Annotated[
        Tokens, msgspec.Meta(description="length of a probe; also how far back an end is seen")
    ] = 20
    choose_large: Annotated[
        bool,
        msgspec.Meta(description="keep the target's probe always, or only where the two disagree"),
    ] = True
    not_reasoning: Annotated[
        bool, msgspec.Meta(description="ask the target at every trigger, neutral probes included")
    ] = False
    discard_neutral_probe: Annotated[
        bool,
        msgspec.Meta(description="throw a neutral probe away and write that place anew"),
    ] = True
    begin: Annotated[bool, msgspec.Meta(description="the target writes the beginning")] = False
    begin_token_num: Annotated[Tokens, msgspec.Meta(description="tokens of the beginning")] = 100
    original_recap_token_num: Annotated[
        Tokens,
        msgspec.Meta(description="tokens of a verification, and of the first recapitulation"),
    ] = 125
    add_each_recap: Annotated[
        Count, msgspec.Meta(description="tokens added to each further recapitulation")
    ] = 25
    max_recap_token_num: Annotated[
        Tokens, msgspec.Meta(description="most tokens of a recapitulation")
    ] = 200
    recap_after_negative_num: Annotated[
        Tokens, msgspec.Meta(description="negations before the first recapitulation")
    ] = 15
    add_each_neg: Annotated[
        Count, msgspec.Meta(description="negations added before each further recapitulation")
    ] = 5
    max_negative_num: Annotated[
        Tokens, msgspec.Meta(description="most negations before a recapitulation")
    ] = 30
    help_think_word: Annotated[
        str | None, msgspec.Meta(description="text put in before each probe; it stays")
    ] = None
    help_recap_words: Annotated[
        str, msgspec.Meta(description="text put in before a recapitulation; it stays")
    ] = "Let me check whether there are wrong steps: "


def sentiment(text: str, words: Keywords) -> int:
    """+1 affirming, -1 reflecting, 0 neutral; a tie counts as reflecting."""
    text = text.lower()
    positive = sum(text.count(word) for word in words.positive)
    negative = sum(text.count(word) for word in (*words.negative, *words.verify))
    if positive == negative == 0:
        return 0
    return 1 if positive > negative else -1


def verifies(text: str, words: Keywords) -> bool:
    """Whether a text announces a verification."""
    text = text.lower()
    return any(word in text for word in words.verify)
