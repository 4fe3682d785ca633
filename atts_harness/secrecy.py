"""Keeps secrets out of errors, logs, and settings.

What is sent as a key or header is remembered here, and taken out of every error of this project
when it is made, and of every line of the run's log: servers echo requests in their error bodies,
and errors end up in journals, samples, and reports. lm-eval writes settings into its results, so
a setting that holds a secret is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

HIDDEN = "[hidden]"
SHORTEST = 4  # a shorter value would hide half of every text
SHORTEST_PART = 8  # of an encoded value; a shorter one occurs by chance

_forms: dict[str, None] = {}  # in every encoding, the longest first


def remember(values: Iterable[str]) -> None:
    """Hide these values from now on, in every encoding that a server may echo.

    Args:
        values: keys or header values; of `Bearer KEY` and `Basic PAIR` the second word counts too.
    """
    forms = dict(_forms)
    for value in values:
        for word in {value.strip(), *value.split()}:
            if len(word) >= SHORTEST and word.lower() not in ("bearer", "basic"):
                forms |= dict.fromkeys(_encoded(word))
    if len(forms) > len(_forms):
        ordered = sorted(forms, key=len, reverse=True)
        _forms.clear()
        _forms.update(dict.fromkeys(ordered))


def hide(text: str) -> str:
    """`text` without the values that were remembered."""
    for form in _forms:
        if form in text:
            text = text.replace(form, HIDDEN)
    return text


def _encoded(value: str) -> Iterator[str]:
    import base64
    import html
    import json
    from urllib.parse import quote, quote_plus

    raw = value.encode()
    yield value
    for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield from (quoted, re.sub("%..", lambda match: match.group().lower(), quoted))
    yield html.escape(value)
    yield from (json.dumps(value)[1:-1], repr(value)[1:-1], value.replace("/", "\\/"))
    forms = [raw.hex(), raw.hex().upper(), value[::-1], "".join(f"\\u{ord(c):04x}" for c in value)]
    # In base64 a value looks different at each of three places within a longer text.
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * before + raw).decode().rstrip("=")
            forms.append(text[(0, 2, 3)[before] : len(text) - bool((before + len(raw)) % 3)])
    yield from (form for form in forms if len(form) >= SHORTEST_PART)


_NAME = re.compile(
    r"(^|[._-])(api[_-]?keys?|secrets?|passwords?|passwd|pwd|authorization|bearer|credentials?|"
    r"hf[_-]?token|(access|auth|api|refresh|id|bearer|session)[_-]?token|private[_-]?key|"
    r"x[_-]api[_-]key|cookie)$|^(token|auth|key)$",
    re.IGNORECASE,
)
_OF_THE_ENVIRONMENT = re.compile(r"_env$", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROSE = frozenset({"chat_template"})  # a template may well speak of secrets
_VALUE = re.compile(
    r"""(?ix)
    \b((sk|pk|rk|glpat|xox[abpr]|nvapi)-|(hf|gsk|gh[pousr]|github_pat)_)[\w-]{12,}
    | \bAIza[\w-]{30,} | \beyJ[\w-]{8,}\.[\w-]{8,}
    | \b(bearer|basic)\s+[\w.~+/=-]{8,}
    | \w+://[^/\s?\#]*@                                     # somebody's name or key in an address
    | [?&;](api[_-]?key|key|token|access_token|auth|sig|signature|password|secret)=[^&\s]+
    | (^|[\s"'{,;&-])(api[-_]?key|token|password|passwd|secret|authorization|hf[-_]token)
      ["']?\s*[=:\s]\s*["']?[^\s"',;&{}\[\]]{4,}
    """
)


def find_secret(settings: Mapping[str, object]) -> str | None:
    """Name of the first setting that contains a secret; None if none does."""
    for name, value in settings.items():
        if _holds(str(name), value):
            return str(name)
    return None


def _holds(name: str, value: object, depth: int = 0) -> bool:
    if value is None or isinstance(value, bool) or depth > 8:
        return False
    if _OF_THE_ENVIRONMENT.search(name) and not _VARIABLE.fullmatch(str(value)):
        return True  # the key itself, where the name of its variable belongs
    if name in _PROSE:
        return False
    if _NAME.search(name) and not _OF_THE_ENVIRONMENT.search(name):
        return True
    if isinstance(value, Mapping):
        return any(_holds(str(key), inner, depth + 1) for key, inner in value.items())
    if isinstance(value, list | tuple):
        words = [str(inner) for inner in value if not isinstance(inner, Mapping | list | tuple)]
        # A flag and its value stand side by side in a list.
        return any(_holds("", inner, depth + 1) for inner in value) or _looks_secret(
            " ".join(words)
        )
    return isinstance(value, str) and _looks_secret(value)


def _looks_secret(text: str) -> bool:
    from urllib.parse import unquote

    return any(_VALUE.search(form) for form in {text, unquote(text)})
