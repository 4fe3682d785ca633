"""Transcripts: exact text, exact ids, in each model's own vocabulary."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from atts_harness.testing.conformance_folder import NAMES, train_tokenizer
from atts_harness.tokenizer import REPLACEMENT, HuggingFaceTokenizer
from atts_harness.transcript import (
    Message,
    Piece,
    Prompt,
    Segment,
    Transcript,
    inserted,
    written,
)

# Three vocabularies: two of one kind with other ids, one of which lacks </think>, and a third kind.
VOCABULARIES = ("bytes", "other", "metaspace")


@cache
def made(kind: str) -> HuggingFaceTokenizer:
    if kind == "metaspace":
        return HuggingFaceTokenizer(train_tokenizer(size=420, metaspace=True))
    if kind == "other":
        names = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<extra>"]
        tokenizer = train_tokenizer(size=320, names=names)
        tokenizer.eos_token = "<|end|>"
        return HuggingFaceTokenizer(tokenizer)
    return HuggingFaceTokenizer(train_tokenizer())


WORDS = (
    "17",
    " + 5",
    " = 22",
    ", so",
    "\n\n",
    "naï",
    "ve 東",
    "京",
    " 🙂🙃",
    "\\boxed{",
    "e\u0301",
    " ",
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)
# Whoever else uses the machine, no example fails by the clock.
relaxed = settings(deadline=None)
PROMPT = Prompt((Message("user", "Compute 17 + 5."),))


@st.composite
def generations(draw: st.DrawFn) -> tuple[str, list[int]]:
    """A vocabulary, and ids its model may have written: text cut anywhere, and names."""
    kind = draw(st.sampled_from(VOCABULARIES))
    tokenizer = made(kind)
    ids: list[int] = []
    for text in draw(st.lists(TEXTS, max_size=3)):
        ids += tokenizer.encode(text)
        if draw(st.booleans()):
            ids.append(tokenizer.named[draw(st.sampled_from(sorted(tokenizer.named)))])
    return kind, ids[: draw(st.integers(0, len(ids)))]


def segment_of(kind: str, ids: list[int], **options: object) -> Segment:
    author = "draft" if kind == "bytes" else "target"
    return written(made(kind), ids, author=author, ending="length", **options)  # type: ignore[arg-type]


@relaxed
@given(st.lists(generations(), max_size=6))
def test_ids_never_change_in_front(parts: list[tuple[str, list[int]]]) -> None:
    transcript = Transcript(PROMPT)
    before = {kind: transcript.ids_in(made(kind)) for kind in VOCABULARIES}
    for number, (kind, ids) in enumerate(parts):
        transcript += segment_of(kind, ids)
        if number % 3 == 2:
            transcript += inserted("Wait.")
        for reader in VOCABULARIES:
            now = transcript.ids_in(made(reader))
            assert now[: len(before[reader])] == before[reader]
            before[reader] = now


@relaxed
@given(st.lists(generations(), max_size=6))
def test_every_vocabulary_reads_the_same_text(parts: list[tuple[str, list[int]]]) -> None:
    transcript = Transcript(PROMPT)
    for kind, ids in parts:
        transcript += segment_of(kind, ids)
    assert transcript.text == "".join(segment.text for segment in transcript.segments)
    for reader in VOCABULARIES:
        tokenizer = made(reader)
        ids = transcript.ids_in(tokenizer)
        prompt = PROMPT.ids_in(tokenizer)
        assert ids[: len(prompt)] == prompt
        assert tokenizer.decode(ids[len(prompt) :]) == transcript.text


@relaxed
@given(generations())
def test_the_authors_own_ids_are_kept(part: tuple[str, list[int]]) -> None:
    kind, ids = part
    segment = segment_of(kind, ids)
    assert segment.ids_in(made(kind)) == segment.ids
    if not made(kind).decode(ids).endswith(REPLACEMENT):
        assert segment.ids == tuple(ids)
    assert made(kind).decode(list(segment.ids or ())) == segment.text


@relaxed
@given(st.sampled_from(VOCABULARIES), TEXTS, st.data())
@example("bytes", "🙂🙃", None)
def test_an_incomplete_character_is_held_back(
    kind: str, text: str, data: st.DataObject | None
) -> None:
    tokenizer = made(kind)
    ids = tokenizer.encode(text)
    cut = len(ids) - 1 if data is None else data.draw(st.integers(0, len(ids)))  # None: example
    segment = segment_of(kind, list(ids[:cut]))
    assert REPLACEMENT not in segment.text
    assert text.startswith(segment.text)
    # Nothing is missing but the incomplete character.
    assert segment.text == tokenizer.decode(ids[:cut]).rstrip(REPLACEMENT)
    # The next author writes it whole.
    rest = segment_of("other", list(made("other").encode(text[len(segment.text) :])))
    assert (Transcript(PROMPT) + segment + rest).text == text


def test_held_back_bytes_of_a_four_byte_character() -> None:
    tokenizer = HuggingFaceTokenizer(train_tokenizer(corpus=["abc"], size=262))
    ids = list(tokenizer.encode("a🙂"))
    assert len(ids) == 5
    for cut in (2, 3, 4):
        assert written(tokenizer, ids[:cut], author="draft", ending="length").text == "a"
    assert written(tokenizer, ids, author="draft", ending="length").text == "a🙂"


@relaxed
@given(st.sampled_from(VOCABULARIES), TEXTS, st.data(), st.booleans())
def test_text_is_cut_at_the_stop(
    kind: str, text: str, data: st.DataObject, keep_stop: bool
) -> None:
    tokenizer = made(kind)
    ids = tokenizer.encode(text)
    assume(text)
    at = data.draw(st.integers(0, len(text) - 1))
    stop = text[at : at + data.draw(st.integers(1, 4))]
    # What an engine returns: ids up to the token that completes the stop.
    end = next(n for n in range(1, len(ids) + 1) if stop in tokenizer.decode(ids[:n]))
    segment = written(
        tokenizer, ids[:end], author="draft", ending="stop", stop=stop, keep_stop=keep_stop
    )
    found = text.find(stop)
    expected = text[: found + len(stop)] if keep_stop else text[:found]
    assert segment.text == expected
    own = list(segment.ids or ())
    assert tokenizer.decode(own) == expected
    # Whole tokens before the cut are kept as they were.
    kept = next((n for n in range(end, 0, -1) if expected.startswith(tokenizer.decode(ids[:n]))), 0)
    assert tuple(own[:kept]) == ids[:kept]


@pytest.mark.parametrize("keep_stop", [True, False])
def test_a_stop_inside_a_token(keep_stop: bool) -> None:
    tokenizer = HuggingFaceTokenizer(train_tokenizer(corpus=["one.\n\nTwo"] * 9, size=280))
    ids = tokenizer.encode("one.\n\nTwo")
    assert len(ids) == 3 or len(ids) < len("one.\n\nTwo")
    segment = written(
        tokenizer, ids, author="draft", ending="stop", stop=".\n", keep_stop=keep_stop
    )
    assert segment.text == ("one.\n" if keep_stop else "one")


def test_a_stop_that_is_not_there_leaves_the_text_alone() -> None:
    tokenizer = made("bytes")
    ids = tokenizer.encode("17 + 5")
    segment = written(tokenizer, ids, author="draft", ending="stop", stop="\n\n")
    assert segment.text == "17 + 5"


def test_named_tokens_map_by_name() -> None:
    mine, third, without = made("bytes"), made("metaspace"), made("other")
    ids = [mine.named["<think>"], *mine.encode("so"), mine.named["</think>"], *mine.encode("\n")]
    segment = segment_of("bytes", ids)
    assert segment.pieces == (
        Piece("<think>", named=True),
        Piece("so"),
        Piece("</think>", named=True),
        Piece("\n"),
    )
    assert segment.ids_in(third) == (
        third.named["<think>"],
        *third.encode("so"),
        third.named["</think>"],
        *third.encode("\n"),
    )
    # Unknown there: plain text, and still the same text.
    assert without.decode(segment.ids_in(without)) == segment.text == "<think>so</think>\n"


def test_text_that_spells_a_name_is_no_named_token() -> None:
    mine, third = made("bytes"), made("metaspace")
    segment = segment_of("bytes", list(mine.encode("say </think> aloud")))
    assert segment.pieces == (Piece("say </think> aloud"),)
    assert third.named["</think>"] not in segment.ids_in(third)


def test_the_end_of_turn_is_not_part_of_the_segment() -> None:
    tokenizer = made("bytes")
    ids = [*tokenizer.encode("done"), tokenizer.named["<|end|>"]]
    segment = written(tokenizer, ids, author="draft", ending="eos")
    assert segment.text == "done"
    assert (Transcript(PROMPT) + segment).closed
    # Ended by length, the same id is text that the model wrote.
    assert written(tokenizer, ids, author="draft", ending="length").text == "done<|end|>"


def test_an_empty_segment_leaves_no_trace() -> None:
    tokenizer = made("bytes")
    transcript = Transcript(PROMPT) + segment_of("bytes", list(tokenizer.encode("x")))
    ended = written(tokenizer, [tokenizer.named["<|end|>"]], author="draft", ending="eos")
    assert not ended
    assert transcript + ended is transcript
    assert transcript + inserted("") is transcript


def test_inserted_text_costs_nothing_and_reads_in_every_vocabulary() -> None:
    tokenizer = made("bytes")
    drafted = segment_of("bytes", list(tokenizer.encode(" = 22")))
    transcript = Transcript(PROMPT) + drafted + inserted("Let me check:")
    assert transcript.tokens == len(drafted) == len(tokenizer.encode(" = 22"))
    assert transcript.text == " = 22Let me check:"
    assert not transcript.closed
    for kind in VOCABULARIES:
        ids = transcript.ids_in(made(kind))[len(PROMPT.ids_in(made(kind))) :]
        assert made(kind).decode(ids) == transcript.text


def test_foreign_ids_are_computed_once() -> None:
    segment = segment_of("bytes", list(made("bytes").encode("naïve 東京")))
    first = segment.ids_in(made("metaspace"))
    assert segment.ids_in(made("metaspace")) is first


def test_raw_prompt_has_no_template() -> None:
    prompt = Prompt((Message("system", "Be brief."), Message("user", "2 + 2?")))
    tokenizer = made("bytes")
    assert tokenizer.decode(prompt.ids_in(tokenizer, raw=True)) == "Be brief.\n2 + 2?\n"
    assert not set(prompt.ids_in(tokenizer, raw=True)) & set(tokenizer.named.values())
    assert prompt.ids_in(tokenizer) != prompt.ids_in(tokenizer, raw=True)


def test_transcripts_are_values() -> None:
    segment = segment_of("bytes", list(made("bytes").encode("x")))
    one = Transcript(PROMPT)
    two = one + segment
    assert one.segments == ()
    assert two == Transcript(PROMPT, (segment,))
    assert len(NAMES) > len(made("other").named)
