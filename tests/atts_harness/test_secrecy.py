"""Secrets in settings are refused whatever their shape; what was sent is hidden."""

import base64
import json
import logging

import pytest

from atts_harness import secrecy
from atts_harness.errors import BackendError, SettingError
from atts_harness.running import interrupts
from atts_harness.running.logs import log_to
from atts_harness.secrecy import find_secret
from atts_harness.settings import parse_settings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"


@pytest.mark.parametrize(
    "settings",
    [
        {"draft_url": "http://token@host:1"},
        {"draft_url": "http://user@corp:pw@host:1"},
        {"draft_url": "http://user:pw@host"},
        {"draft_url": "https://host/v1?api_key=abc"},
        {"draft_url": "https://host/v1?x=1&access_token=abc"},
        {"draft_url": "https://host/v1%3Fapi_key%3Dabc"},
        {"server_args": "--api-key abcdef"},
        {"server_args": "--max-num-seqs 8 --api-key=abcdef"},
        {"server_args": ["--api-key", "abcdef"]},
        {"server_args": {"api_key": "abcdef"}},
        {"server_args": {"outer": {"hf-token": "abcdef"}}},
        {"server_args": '{"api-key": "abcdef"}'},
        {"server_args": '--extra {"headers": {"Authorization": "Bearer abcdefgh"}}'},
        {"chat_template_args": {"x": [{"password": "p"}]}},
        {"api_key": "x"},
        {"apiKey": "x"},
        {"draft_api_key": "x"},
        {"openai_token": "sk-abcdefghijklmnop"},
        {"token": "abc"},
        {"draft": "hf_abcdefghijklmnopqrst"},
        {"target": f"org/model {JWT}"},
        {"api_key_env": "sk-proj-abcdefghijklmnop"},
        {"headers_env": '{"X-Key": "abc"}'},
        {"rate": "Basic dXNlcjpwYXNz"},
    ],
)
def test_a_secret_in_a_setting_is_found_in_whatever_shape(settings):
    assert find_secret(settings) == next(iter(settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"draft": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "target": "/models/token/QwQ-32B"},
        {"draft": "hf-internal-testing/tiny-random-gpt2", "target": "org/my-token-model"},
        {"draft_url": "http://127.0.0.1:30000/v1", "url": "http://[::1]:8000"},
        {"server_args": "--max-num-batched-tokens 2048 --tokenizer-mode auto --quantization fp8"},
        {"server_args": {"max_num_batched_tokens": 2048, "tokenizer": "org/model"}},
        {"draft_tokens": "500", "turn_stop": "\n\n", "max_gen_toks": 100},
        {"api_key_env": "MY_KEY", "headers_env": "HEADERS"},
        {"chat_template": "{{ bos_token }}The secret: say nothing of token = {{ x }}"},
        {"chat_template_args": {"enable_thinking": False}},
        {"draft_price": "0.5/2", "bank": "banks/a.json", "run_dir": "runs/keys"},
    ],
)
def test_what_is_no_secret_is_let_through(settings):
    assert find_secret(settings) is None


def test_a_refusal_names_the_setting_and_not_the_secret():
    with pytest.raises(SettingError, match=r"^draft_url: looks like a secret") as caught:
        parse_settings({"draft_url": "http://very-secret@host"})
    assert "very-secret" not in str(caught.value)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setattr(secrecy, "_forms", {})
    secrecy.remember(["Bearer the-key/of+all"])
    return "the-key/of+all"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "x" * 31])
def test_a_key_is_hidden_wherever_it_stands_in_base64(key, before):
    text = base64.b64encode(f"{before}{key}!".encode()).decode()
    assert "[hidden]" in secrecy.hide(text)


@pytest.mark.parametrize(
    "form",
    [
        str,
        json.dumps,
        lambda key: key[::-1],
        lambda key: key.replace("/", "\\/"),
        lambda key: key.encode().hex(),
    ],
)
def test_errors_are_made_without_what_was_sent(key, form):
    error = BackendError(f"the server said: {form(key)}")
    assert form(key) not in str(error)
    assert "[hidden]" in str(error)


def test_log_lines_are_made_without_what_was_sent(key, tmp_path):
    with log_to(tmp_path / "run.log"):
        logging.getLogger("atts_harness.x").info("foreign words with %s", key)
    assert "[hidden]" in (tmp_path / "run.log").read_text()


def test_the_recorded_command_has_no_secret(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["lm_eval", "--wandb_args", "api_key=abcdefgh", "--model", "atts"]
    )
    monkeypatch.setattr("sys.orig_argv", ["lm_eval", "--wandb_args", "api_key=abcdefgh"])
    assert "abcdefgh" not in interrupts.command_line()


def test_short_words_are_no_secrets(monkeypatch):
    monkeypatch.setattr(secrecy, "_forms", {})
    secrecy.remember(["a", "Bearer", ""])
    assert secrecy.hide("a Bearer of bad news") == "a Bearer of bad news"
