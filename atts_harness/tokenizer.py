"""The tokenizer that the harness needs, and the adapter for Hugging Face's.

State is kept in token ids (see `atts_harness.transcript`), so a tokenizer here is more than
encode and decode: it has an identity (ids of equal fingerprints are interchangeable), it knows
which of its tokens are named (special or added ones: `</think>`, end of turn), and it renders
chat messages and the tail of a judging turn into ids.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from atts_harness.errors import MissingExtraError, SettingError
from atts_harness.message import Message
from atts_harness.templates import WORDS, check_template, explain, turn_end

__all__ = ["HuggingFaceTokenizer", "Ids", "Message", "Tokenizer", "load_tokenizer"]

Ids = tuple[int, ...]
REPLACEMENT = "\ufffd"
# A character has at most four bytes, so at most three tokens can be an incomplete character.
LONGEST_TAIL = 3
# Put before a text, so that it gets the ids that it has inside a text; tried in order.
ANCHORS = ("\n", "=", "a")
# The function by which a template asks for the date; it reads the clock of a transformers module.
DATE_FUNCTION = "strftime_now"


@runtime_checkable
class Tokenizer(Protocol):
    """A model's vocabulary and chat template."""

    @property
    def fingerprint(self) -> str:
        """Identity of vocabulary, merges and named tokens (hex digest)."""
        ...

    @property
    def template_fingerprint(self) -> str:
        """Identity of the chat template and its arguments; part of a bank's provenance."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids; a valid id is in [0, vocab_size)."""
        ...

    @property
    def named(self) -> Mapping[str, int]:
        """Special and added tokens by name."""
        ...

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end an assistant turn."""
        ...

    @property
    def text_prefix(self) -> Ids:
        """Ids before a plain text (a beginning-of-text token); often none."""
        ...

    def encode(self, text: str) -> Ids:
        """Ids of plain text: nothing is added, the names of special tokens are plain text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a run of ids as it reads inside a text; bad bytes become U+FFFD."""
        ...

    def render(self, messages: Sequence[Message]) -> Ids:
        """Ids of chat messages up to where the assistant writes.

        A trailing assistant message is a partial turn: it is continued, not closed.
        """
        ...

    def render_tail(self, messages: Sequence[Message], prefill: str = "") -> Ids:
        """Ids that close a running assistant turn and open another after `messages`.

        Used for judging turns: what stands before is never rendered again. `prefill` starts the
        new assistant turn; what the generation prompt already ends with is not repeated.
        """
        ...


class HuggingFaceTokenizer:
    """A `transformers` tokenizer behind the `Tokenizer` protocol.

    Args:
        tokenizer: a fast `PreTrainedTokenizerFast`-like object.
        chat_template: a Jinja template that replaces the tokenizer's own.
        template_args: further arguments of the template (`enable_thinking`, ...).
        eos_ids: ids that end a turn beside the tokenizer's own eos (from `generation_config`).
        output_size: number of ids that the model may write, if it is padded beyond these.
        moment: date and time for a template that asks for it; ISO 8601, by default now.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        chat_template: str | None = None,
        template_args: Mapping[str, Any] | None = None,
        eos_ids: Sequence[int] = (),
        output_size: int = 0,
        moment: str | None = None,
    ) -> None:
        self._hf = tokenizer
        self._template = chat_template
        self._args = dict(template_args or {})
        self.named: Mapping[str, int] = {
            str(token): int(id_) for id_, token in tokenizer.added_tokens_decoder.items()
        }
        self._moment = datetime.fromisoformat(moment) if moment else datetime.now()
        self.vocab_size = len(tokenizer)
        self.output_size = max(self.vocab_size, output_size)
        # A vocabulary's object is not safe to use from two threads (an engine's and the loop's).
        self._lock = threading.Lock()
        # Metaspace tokenizers drop a space at the start of a text; behind an anchor they do not.
        self._anchor = self._encode("a")
        self._anchor_text = self._decode(self._anchor)
        # They also put one there when they encode; then encoding needs an anchor as well.
        adds = self._decode([*self._anchor, *self._anchor]) != self._anchor_text * 2
        self._anchors = [(a, self._encode(a)) for a in ANCHORS] if adds else []
        tokenizer_eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        self._eos = frozenset([*eos_ids, *tokenizer_eos, *self._turn_ends()])

    @functools.cached_property
    def fingerprint(self) -> str:
        """Digest of the vocabulary, the merges and the named tokens."""
        state = (
            self._hf.backend_tokenizer.to_str()
            if hasattr(self._hf, "backend_tokenizer")
            else (json.dumps(sorted(self._hf.get_vocab().items())))
        )
        # Padding and truncation are settings of a caller, not of the vocabulary.
        try:
            model = json.loads(state)
            model = {
                k: model.get(k) for k in ("model", "added_tokens", "pre_tokenizer", "normalizer")
            }
            state = json.dumps(model, sort_keys=True)
        except (ValueError, AttributeError):
            pass
        return hashlib.blake2b(state.encode(), digest_size=8).hexdigest()

    @functools.cached_property
    def template_fingerprint(self) -> str:
        """Digest of the chat template in use and its arguments."""
        template = self._template or getattr(self._hf, "chat_template", None) or ""
        state = json.dumps([template, self._args], sort_keys=True, default=str)
        return hashlib.blake2b(state.encode(), digest_size=8).hexdigest()

    @functools.cached_property
    def text_prefix(self) -> Ids:
        """Ids before a plain text (a beginning-of-text token); often none."""
        with self._lock:
            return tuple(self._hf.encode("", add_special_tokens=True))

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end an assistant turn: the listed ones, and the one that the template writes."""
        return self._eos

    @functools.cached_property
    def moment(self) -> str | None:
        """The moment for a template with a date, ISO 8601; None for one without."""
        return self._moment.isoformat() if self._dated else None

    @property
    def _dated(self) -> bool:
        template = self._template or getattr(self._hf, "chat_template", None) or ""
        return DATE_FUNCTION in str(template)

    @contextlib.contextmanager
    def _clock(self) -> Iterator[None]:
        """In this block a template that asks for the date gets this tokenizer's moment."""
        if not self._dated:
            yield
            return
        from transformers.utils import chat_template_utils as module

        with _rendering:
            real = module.datetime
            module.datetime = types.SimpleNamespace(now=lambda: self._moment)
            try:
                yield
            finally:
                module.datetime = real

    def check(self) -> None:
        """Check that prompts are rendered as they should be; see `atts_harness.templates`.

        Raises:
            SettingError: the template drops the question, doubles the begin-of-text, ...
        """
        check_template(self._rendered)
        ids = self.render([Message("user", WORDS)])
        bos = self._hf.bos_token_id
        if bos is not None and ids[:2] == (bos, bos):
            raise SettingError(
                "chat_template: the prompt begins with two begin-of-text tokens; give a template "
                "that writes one (chat_template=FILE)"
            )
        if ids[-1] in self._eos:
            raise SettingError(
                "chat_template: the prompt ends with an end-of-turn token, so the model would "
                "write behind its own end; give a template that opens the assistant's turn"
            )

    def _turn_ends(self) -> Ids:
        """The token that the template ends an assistant's turn with."""
        special = set(self.named.values())
        for id_ in self._encode(turn_end(self._rendered), names=True):
            if id_ in special:
                return (id_,)
            if self._decode([id_]).strip():
                break
        return ()

    def _rendered(self, messages: Sequence[Message], generation_prompt: bool) -> str:
        return self._apply(messages, generation_prompt=generation_prompt)

    def encode(self, text: str) -> Ids:
        """Ids of plain text as it reads inside a text; names of special tokens are plain text."""
        if not text:
            return ()
        inside = [
            tuple(encoded[len(ids) :])
            for anchor, ids in self._anchors
            # Not if the anchor has grown together with the text.
            if (encoded := self._encode(anchor + text))[: len(ids)] == ids
        ]
        exact = [ids for ids in inside if self.decode(ids) == text]
        # A vocabulary that normalizes text cannot give it back exactly.
        return (exact or inside or [tuple(self._encode(text))])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a run of ids as it reads inside a text."""
        if not ids:
            return ""
        text = self._decode([*self._anchor, *ids])
        return text[len(self._anchor_text) :]

    def render(self, messages: Sequence[Message]) -> Ids:
        """Ids of chat messages up to where the assistant writes."""
        return self._encode_rendered(self._render_text(messages))

    def render_tail(self, messages: Sequence[Message], prefill: str = "") -> Ids:
        """Ids that close a running assistant turn and open another after `messages`."""
        mark = "\u2063ATTS\u2063"
        stand_in = [Message("user", "."), Message("assistant", mark), *messages]
        text = self._apply(stand_in, generation_prompt=True)
        _, separator, tail = text.partition(mark)
        if not separator:
            raise SettingError(
                "chat_template: it drops the assistant's text, so a judging turn cannot be "
                "rendered; give another `chat_template`"
            )
        overlap = next(
            (n for n in range(min(len(prefill), len(tail)), 0, -1) if tail.endswith(prefill[:n])), 0
        )
        return self._encode_rendered(tail + prefill[overlap:])

    def _render_text(self, messages: Sequence[Message]) -> str:
        if messages and messages[-1].role == "assistant":
            return self._apply(messages[:-1], generation_prompt=True) + messages[-1].content
        return self._apply(messages, generation_prompt=True)

    def _apply(self, messages: Sequence[Message], *, generation_prompt: bool) -> str:
        if self._template is None and not getattr(self._hf, "chat_template", None):
            raise SettingError(
                f"chat_template: the tokenizer of {self._hf.name_or_path!r} has none; give "
                "`chat_template=FILE` (Jinja) or an instruction-tuned model"
            )
        try:
            with self._clock():
                rendered = self._hf.apply_chat_template(
                    [{"role": m.role, "content": m.content} for m in messages],
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                    chat_template=self._template,
                    **self._args,
                )
        except Exception as error:  # a template is a program, and raises what it likes
            raise explain(error, [m.role for m in messages]) from error
        return str(rendered)

    def _encode_rendered(self, text: str) -> Ids:
        # The template writes special tokens by name, the beginning of the text included.
        return tuple(self._encode(text, names=True))

    def _encode(self, text: str, *, names: bool = False) -> list[int]:
        with self._lock:
            ids = self._hf.encode(text, add_special_tokens=False, split_special_tokens=not names)
        return list(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        with self._lock:
            return str(
                self._hf.decode(
                    list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
                )
            )


_importing = threading.Lock()
_rendering = threading.Lock()  # for templates with a date: their clock is global to a module


def load_tokenizer(
    path: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    chat_template: str | None = None,
    template_args: Mapping[str, Any] | None = None,
    moment: str | None = None,
) -> HuggingFaceTokenizer:
    """Load a tokenizer folder or hub id, with the end-of-turn ids its generation config names.

    Args:
        path: folder or hub id.
        revision: hub revision.
        trust_remote_code: run the repository's own tokenizer code.
        chat_template: the template itself, or the path of a file that holds it.
        template_args: further arguments of the template.
        moment: date and time for a template that asks for it; ISO 8601, by default now.

    Raises:
        MissingExtraError: `transformers` is not installed.
        SettingError: no tokenizer can be loaded from `path`.
    """
    try:
        # Two threads that import its lazy modules at once see them half loaded.
        with _importing:
            from transformers import AutoTokenizer, GenerationConfig
    except ImportError as error:
        raise MissingExtraError("a tokenizer", "transformers", "transformers") from error
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SettingError(
            f"tokenizer: cannot load {path!r}: {first.rstrip('.')}; give a folder or a hub id; a "
            "gated or private one needs its conditions accepted on the hub, and HF_TOKEN"
        ) from error
    try:
        eos = GenerationConfig.from_pretrained(path, **options).eos_token_id
    except (OSError, ValueError):
        eos = None  # a folder need not have one; the tokenizer's own eos stands
    eos_ids = [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
    return HuggingFaceTokenizer(
        tokenizer,
        chat_template=_template_text(chat_template),
        template_args=template_args,
        eos_ids=eos_ids,
        output_size=_output_size(path, options),
        moment=moment,
    )


def _output_size(path: str, options: Mapping[str, Any]) -> int:
    """The vocabulary size in the model's configuration; 0 where there is none."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, **options).get_text_config()
    except (OSError, ValueError, KeyError, ImportError):
        return 0  # a tokenizer alone, or a model that this release does not know
    size = getattr(config, "vocab_size", 0)
    return size if isinstance(size, int) else 0


def _template_text(template: str | None) -> str | None:
    if template is None or "{" in template:
        return template
    try:
        return Path(template).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"chat_template: cannot read {template!r}: {error.strerror}") from error
