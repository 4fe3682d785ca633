"""sgl-eval against the endpoint."""

import json

from tests.frameworks.conftest import PROBLEMS, REPEATS, agrees, command_of, run, told
from tests.frameworks.expected import equal


def evaluate(problems, endpoint, where, *options):
    """Run sgl-eval; by document the shares of right answers."""
    rows = [
        json.dumps({"id": f"problem-{number}", "problem": asked, "expected_answer": answer})
        for number, (asked, answer) in enumerate(problems)
    ]
    (where / "problems.jsonl").write_text("\n".join(rows) + "\n")
    (where / "plain.yaml").write_text('user: "{problem}"\n')
    run(
        [
            *(command_of("sgl-eval", "sgl-eval"), "run", "gsm8k"),
            *("--base-url", endpoint.url, "--model", "atts", "--num-threads", "32"),
            *("--from-dataset", "problems.jsonl", "--prompt", "./plain.yaml"),
            *("--temperature", "0.8", "--top-p", "1.0", "--max-tokens", "640"),
            *("--out-dir", "out", *options),
        ],
        where,
    )
    right = {}
    for path in where.glob("out/*/output-rs*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            right.setdefault(int(row["id"].rpartition("-")[2]), []).append(
                float(row["symbolic_correct"])
            )
    return [sum(right[n]) / len(right[n]) for n in range(len(problems))]


def test_accuracy_agrees(problems, reference, endpoint, tmp_path, capsys):
    shares = evaluate(problems, endpoint, tmp_path, "--n-repeats", str(REPEATS))
    assert len(endpoint.calls) == PROBLEMS * REPEATS
    told(
        "sgl-eval",
        capsys,
        accuracy=f"{sum(shares) / len(shares):.3f}",
        lm_eval=f"{reference.accuracy:.3f}",
    )
    agrees(shares, reference.shares)


def test_the_same_request_and_seed_is_the_sessions_sample(problems, endpoint, tmp_path, capsys):
    evaluate(problems, endpoint, tmp_path, "--n-repeats", "1", "--seed", "7")
    assert {json.loads(body)["seed"] for body, _ in endpoint.calls} == {7}
    same, of = equal(endpoint.calls)
    told("sgl-eval", capsys, equal=f"{same}/{of}")
    assert same == of == PROBLEMS
