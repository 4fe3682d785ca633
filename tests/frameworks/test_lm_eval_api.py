"""lm-eval's own API model against the endpoint."""

import json

from tests.frameworks.conftest import PROBLEMS, REPEATS, TASK, agrees, command_of, run, told
from tests.frameworks.expected import equal


def evaluate(endpoint, where, *, repeats, seed):
    """Run lm-eval with `local-chat-completions`; by document the shares of right answers."""
    address = f"{endpoint.url}/chat/completions"
    run(
        [
            *(command_of("lm-eval", "python"), "-m", "atts_harness", "lm-eval"),
            *("--model", "local-chat-completions", "--apply_chat_template"),
            *("--model_args", f"model=atts,base_url={address},num_concurrent=32,timeout=900"),
            *("--gen_kwargs", json.dumps({"seed": seed})),
            *("--tasks", TASK, "--limit", str(PROBLEMS)),
            *("--metadata", json.dumps({"repeats": repeats})),
            *("--log_samples", "--output_path", "results.json"),
        ],
        where,
        OPENAI_API_KEY="none",
    )
    (log,) = where.glob("samples_*.jsonl")
    return [json.loads(line)["pass@1"] for line in log.read_text().splitlines()]


def test_accuracy_agrees_where_every_request_has_a_fresh_seed(
    reference, endpoint, tmp_path, capsys
):
    shares = evaluate(endpoint, tmp_path, repeats=REPEATS, seed=None)
    assert len(endpoint.calls) == PROBLEMS * REPEATS
    told(
        "lm-eval API",
        capsys,
        accuracy=f"{sum(shares) / len(shares):.3f}",
        lm_eval=f"{reference.accuracy:.3f}",
    )
    agrees(shares, reference.shares)


def test_the_same_request_and_seed_is_the_sessions_sample(endpoint, tmp_path, capsys):
    evaluate(endpoint, tmp_path, repeats=1, seed=7)
    assert {json.loads(body)["seed"] for body, _ in endpoint.calls} == {7}
    same, of = equal(endpoint.calls)
    told("lm-eval API", capsys, equal=f"{same}/{of}")
    assert same == of == PROBLEMS
