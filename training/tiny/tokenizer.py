"""The pair's tokenizer: byte-level BPE in which every word of the pair's language is one token.

Integers below 100, operators with their spaces, connectives and the blank line are single tokens,
so a step is about fifteen tokens long and a cut between two tokens never falls inside a number.
Any other text is spelled in bytes, so every string can be encoded and comes back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from atts_tasks.chain.problems import PHRASINGS

from training.tiny import language

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (PAD, SYSTEM, USER, ASSISTANT, END)
THINK = ("<think>", "</think>")
"""Added tokens that stay visible when special tokens are skipped, as in the reasoning models."""

SYSTEM_PROMPT = "You are a careful assistant."
CONTEXT = 2048

_WORDS = r"\d{1,2}| [-+*=] |, [a-z]+ |[.:,] | \(|\n\n|\\boxed\{|[A-Za-z]+ ?|\s|."

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role not in ['system', 'user', 'assistant'] -%}"
    "{{ raise_exception('unknown role ' ~ message.role) }}"
    "{%- endif -%}"
    "{{ '<|' ~ message.role ~ '|>' ~ message.content ~ '<|end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|><think>\n' }}{%- endif -%}"
)
"""Renders every turn as it was written: nothing before ``</think>`` is deleted."""


def _corpus() -> Iterator[str]:
    """Every word of the language at least once; numbers often, so that they merge first."""
    for number in range(100):
        yield from [str(number)] * 50
    sentences = [
        *(phrase.format("1 + 2 - 3 * 4") for phrase in PHRASINGS),
        *(f"1 + 2 = 3{connective}3." for connective in language.CONNECTIVES),
        *(f"{head}1" for head in (*language.FIRST_HEADS, *language.NEXT_HEADS, language.YES)),
        *(f"{head}1" for head in (*language.REFLECTIONS, language.CUE)),
        *(closing.format(1) for closing in language.CLOSINGS),
        *(answer.format(1) for answer in language.ANSWERS),
        "\n\n",
        language.JUDGE_QUESTION,
        "The score is: 1",
        SYSTEM_PROMPT,
    ]
    for sentence in sentences:
        yield from [sentence] * 10


def build_tokenizer() -> Tokenizer:
    """Trains the tokenizer; the result is the same on every machine."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        min_frequency=1,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK])
    return tokenizer


def save_tokenizer(folder: Path) -> None:
    """Writes ``tokenizer.json`` and ``tokenizer_config.json`` with the chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    build_tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "bos_token": None,
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


class Codec:
    """Encodes words of the language through a cache: a training example is made of few of them."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer if tokenizer is not None else build_tokenizer()
        self.encode = lru_cache(maxsize=4096)(self._encode)
        self.pad, self.end = self.token(PAD), self.token(END)
        self.blank = self.token("ĊĊ")
        self.digits = tuple(self.token(str(digit)) for digit in range(10))
        self.numbers = tuple(self.token(str(number)) for number in range(100))
        self.size = self.tokenizer.get_vocab_size()

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def token(self, name: str) -> int:
        """The id of a token by its name in the vocabulary."""
        id_ = self.tokenizer.token_to_id(name)
        if id_ is None:
            raise KeyError(f"the tokenizer has no token {name!r}")
        return int(id_)

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens included."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def prompt(self, question: str, system: str | None = None) -> list[int]:
        """The ids of a problem as the chat template renders it with a generation prompt."""
        head = f"{SYSTEM}{system}{END}" if system else ""
        return list(self._encode(f"{head}{USER}{question}{END}{ASSISTANT}{language.THINK_OPEN}"))

    def judge_tail(self) -> list[int]:
        """The ids of a judging turn after a partial assistant turn."""
        text = f"{END}{USER}{language.JUDGE_QUESTION}{END}{ASSISTANT}{language.JUDGE_PREFILL}"
        return list(self.encode(text))
