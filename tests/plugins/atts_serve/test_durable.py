"""With a run directory: nothing is lost when the server dies, and ids of requests are kept."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from atts_serve.claims import Claims
from atts_serve.guard import Door
from atts_serve.refusal import Refusal

from atts_harness.journal.reader import open_run

openai = pytest.importorskip("openai")
ARGS = {
    **{"backend": "mock", "draft": "d", "target": "t", "strategy": "mock-turns", "turns": 4},
    **{"ending": 0, "draft_tokens": 8},
}
ASKED = {"model": "mock-turns", "messages": [{"role": "user", "content": "How far?"}]}
PROGRAM = """
import sys
from atts_harness import cli, plugins
from atts_harness.testing import mock_plugin
plugins.manager().register(mock_plugin)
sys.argv = ["atts", *sys.argv[1:]]
cli.main()
"""


def named(id_):
    return {"extra_headers": {"Idempotency-Key": id_}}


def calls(folder):
    with open_run(folder / "mock-turns") as run:
        return [call.key for call in run.calls()]


def test_the_same_id_and_body_get_the_recorded_answer_and_others_do_not(serving, tmp_path):
    args = {**ARGS, "run_dir": str(tmp_path)}
    with serving(args=args) as server:
        client = server.client().chat.completions
        first = client.create(**ASKED, **named("one"))
        made = calls(tmp_path)
        again = client.create(**ASKED, **named("one"))
        assert again == first
        assert calls(tmp_path) == made
        parts = list(client.create(**ASKED, **named("one"), stream=True))
        streamed = "".join(part.choices[0].delta.content or "" for part in parts)
        assert streamed == first.choices[0].message.content
        assert {part.id for part in parts} == {first.id}
        for more in ({"n": 2}, {"temperature": 0.1}, {"max_tokens": 5}):
            with pytest.raises(openai.ConflictError, match="another request"):
                client.create(**ASKED, **more, **named("one"))
        assert client.create(**ASKED, **named("two")).id != first.id
    with serving(args=args) as server:
        assert server.client().chat.completions.create(**ASKED, **named("one")) == first
    assert len(calls(tmp_path)) == 2 * len(made) or len(calls(tmp_path)) > len(made)


def test_the_id_of_another_key_is_not_told(serving, tmp_path):
    keys = ("the-first-key-of-two", "the-second-key-of-two")
    with serving(args={**ARGS, "run_dir": str(tmp_path)}, door=Door(keys=keys)) as server:
        one, two = (server.client(api_key=key).chat.completions for key in keys)
        one.create(**ASKED, **named("mine"))
        with pytest.raises(openai.ConflictError):
            two.create(**ASKED, **named("mine"))
    stored = (tmp_path / "requests.sqlite3").read_bytes()
    assert not any(key.encode() in stored for key in (*keys, "mine"))


def test_a_recorded_place_is_returned_and_another_question_there_refused(serving, tmp_path):
    with serving(args={**ARGS, "run_dir": str(tmp_path)}) as server:
        client = server.client().chat.completions
        place = {"extra_body": {"atts": {"task": "t", "doc": 3}}}
        first = client.create(**ASKED, **place)
        made = calls(tmp_path)
        assert client.create(**ASKED, **place).choices == first.choices
        assert calls(tmp_path) == made
        other = {**ASKED, "messages": [{"role": "user", "content": "Else?"}]}
        with pytest.raises(openai.ConflictError, match="recorded with another question"):
            client.create(**other, **place)
        with pytest.raises(openai.ConflictError, match="recorded"):
            client.create(**ASKED, max_tokens=7, **place)


def test_each_variation_is_a_run_that_other_commands_read(serving, tmp_path):
    with serving(args={**ARGS, "run_dir": str(tmp_path)}) as server:
        client = server.client().chat.completions
        client.create(**ASKED)
        client.create(**ASKED, extra_body={"atts": {"rate": 0.9, "task": "t", "doc": 1}})
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert re.fullmatch(r"mock-turns mock-turns@[0-9a-f]{12}", " ".join(folders))
    with open_run(tmp_path / folders[1]) as run:
        assert run.complete
        assert run.record.options["rate"] == 0.9
        assert [s.state for s in run.sessions()] == ["finished"]
        assert {s.id.task for s in run.samples()} == {"t"}


@pytest.fixture
def command(tmp_path):
    """`atts serve` as a process; gives it and its address."""
    begun = []

    def begin(**args):
        told = {**ARGS, "run_dir": str(tmp_path / "run"), **args}
        line = ["serve", "--model", "mock-turns", "--port", "0", "--model-args", json.dumps(told)]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *line],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        begun.append(process)
        said = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/v1", said)
        assert address, said + process.stdout.read()
        return process, address[0]

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_server_that_was_killed_goes_on_where_it_was(command, tmp_path):
    process, url = command(mock_seconds=0.05)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)
    lost = []

    def ask():
        try:
            client.chat.completions.create(**ASKED, **named("long"))
        except openai.APIConnectionError as error:
            lost.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    folder = tmp_path / "run"
    for _ in range(2000):
        time.sleep(0.01)
        if (folder / "mock-turns" / "journal.sqlite3").exists() and len(calls(folder)) >= 2:
            break
    process.kill()
    asking.join(30)
    assert lost
    made = calls(folder)
    process, url = command(mock_seconds=0)
    client = openai.OpenAI(base_url=url, api_key="none", timeout=30)
    answer = client.chat.completions.create(**ASKED, **named("long"))
    assert len(answer.choices[0].model_extra["atts"]["turns"]) == 4
    after = calls(folder)
    assert after[: len(made)] == made
    assert len(set(after)) == len(after) > len(made) >= 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    with open_run(folder / "mock-turns") as run:
        assert run.complete
        assert run.sessions()[-1].state == "finished"


def test_ids_of_requests_are_checked_and_forgotten_in_memory_in_order(monkeypatch):
    monkeypatch.setattr("atts_serve.claims.MOST_IN_MEMORY", 2)
    claims = Claims()
    assert claims.claim("a", "", "body") == claims.claim("a", "", "body")
    for id_ in ("", "b", "c"):
        claims.claim(id_, "", "body")
    claims.claim("a", "", "another")  # it was forgotten
    for wrong in ("x" * 201, "a\nb", "é"):
        with pytest.raises(Refusal, match="printable ASCII"):
            claims.claim(wrong, "", "body")
