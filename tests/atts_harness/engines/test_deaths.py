"""Why a server died: its first fatal error, not its last line."""

import pytest

from atts_harness.engines.deaths import Cause, cause_of_death

# As vLLM 0.32 writes when its engine process fails; the last lines come from a library's clean-up.
VLLM = """\
(APIServer pid=7) INFO 11-30 21:00:01 [api_server.py:50] "POST /v1/completions HTTP/1.1" 200 OK
(EngineCore pid=9) ERROR 11-30 21:00:02 [core.py:1512] EngineCore encountered a fatal error.
(EngineCore pid=9) ERROR 11-30 21:00:02 [core.py:1512] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-30 21:00:02 [core.py:1512]   File "core.py", line 1, in run
(EngineCore pid=9) ERROR 11-30 21:00:02 [core.py:1512] RuntimeError: the first one: of step 3
(APIServer pid=7) ERROR 11-30 21:00:02 [async_llm.py:1] AsyncLLM output_handler failed.
(APIServer pid=7) ERROR 11-30 21:00:02 [async_llm.py:1] Traceback (most recent call last):
(APIServer pid=7) ERROR 11-30 21:00:02 [async_llm.py:1] EngineDeadError: EngineCore: see above
nanobind: leaked 2 instances!
nanobind: this is likely caused by a reference counting issue in the binding code.
See https://nanobind.readthedocs.io/en/latest/refleaks.html
"""
# As SGLang 0.5.23 does; it then ends itself by a signal.
SGLANG = """\
[2026-11-30 22:01:36] INFO:     ::1:55284 - "POST /generate HTTP/1.1" 200 OK
[2026-11-30 22:01:37] Scheduler hit an exception: Traceback (most recent call last):
  File "scheduler.py", line 1, in run_scheduler_process
ZeroDivisionError: the first one: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "scheduler.py", line 2, in run_scheduler_process
ValueError: the second one: of the first

[2026-11-30 22:01:37] SIGQUIT received. signum=None, frame=None. It usually means one child failed.
[2026-11-30 22:01:42] kill_process_tree called: parent_pid=26078, include_parent=True, pid=26078
"""


@pytest.mark.parametrize(
    ("log", "status", "error"),
    [
        (VLLM, 0, "RuntimeError: the first one: of step 3"),
        (SGLANG, 137, "ZeroDivisionError: the first one: division by zero"),
    ],
)
def test_the_first_error_behind_the_engines_last_words_is_told(log, status, error):
    assert cause_of_death(log, (), status) == ("", f"ended with status {status}: {error}")


def test_an_error_from_before_the_fatal_one_is_not_blamed():
    log = "ValueError: a request's: refused\n" + VLLM
    assert "the first one" in cause_of_death(log, (), 0)[1]


def test_of_a_chain_without_such_words_the_first_is_told():
    chain = SGLANG.partition("exception: ")[2]
    assert "the first one" in cause_of_death(chain, (), 1)[1]
    # Tracebacks that did not cause each other: the last one.
    later = "Traceback (most recent call last):\nOSError: the third one: later\n"
    assert "the third one" in cause_of_death(f"{chain}some line\n{later}", (), 1)[1]


def test_a_known_cause_names_its_setting_also_where_the_engine_killed_itself():
    cause = Cause("division by zero", "max_length", "do not divide")
    setting, said = cause_of_death(SGLANG, (cause,), 137)
    assert setting == "max_length"
    assert said.startswith("failed: ZeroDivisionError: the first one")
    assert said.endswith("do not divide")


def test_a_server_that_signal_9_killed_is_called_that():
    setting, said = cause_of_death("all is well\n", (), 128 + 9)
    assert (setting, said[:34]) == ("", "was killed by signal 9 (SIGKILL), ")
    assert "ran out of memory" in said
    # What its log may say of an earlier matter comes second.
    log = "RuntimeError: CUDA out of memory, so a smaller batch is tried: it works\n"
    setting, said = cause_of_death(
        log, (Cause("out of memory", "fraction", "give it less"),), 128 + 9
    )
    assert setting == "fraction"
    assert said.startswith("was killed by signal 9 (SIGKILL), ")
    assert said.endswith("give it less")


# What vLLM and SGLang say of a process of theirs that ended without a word.
@pytest.mark.parametrize(
    "line",
    [
        "(APIServer pid=7) ERROR 11-30 22:08:27 [async_llm.py:906] vllm.v1.engine.exceptions."
        "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root "
        "cause.",
        "(APIServer pid=7) ERROR 11-30 22:08:27 [core_client.py:1] Engine core proc EngineCore "
        "died unexpectedly, shutting down client.",
        "[2026-11-30 22:01:37] Subprocess scheduler_0 (pid=26698) crashed with exit code -9. "
        "Triggering SIGQUIT for cleanup...",
    ],
)
def test_a_process_of_the_engine_that_was_killed(line):
    _, said = cause_of_death(f"INFO fine\n{line}\nSee https://host/refleaks.html\n", (), 0)
    assert said.startswith("lost one of its processes, perhaps the machine ran out of memory: ")
    assert "refleaks" not in said
