"""evalscope against the endpoint."""

import json

from tests.frameworks.conftest import DRAWN, PROBLEMS, REPEATS, agrees, command_of, run, told
from tests.frameworks.expected import equal

# A local folder that `datasets` reads as the data set of this name.
CARD = """---
configs:
- config_name: main
  data_files:
  - split: test
    path: test.jsonl
---
"""


def evaluate(problems, endpoint, where, repeats, **generation):
    """Run evalscope; by document the shares of right answers."""
    folder = where / "gsm8k"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    rows = [
        json.dumps({"question": asked, "answer": f"#### {answer}"}) for asked, answer in problems
    ]
    (folder / "test.jsonl").write_text("\n".join(rows) + "\n")
    data = {"local_path": str(folder), "few_shot_num": 0, "prompt_template": "{question}"}
    run(
        [
            *(command_of("evalscope", "evalscope"), "eval", "--model", "atts"),
            *("--eval-type", "openai_api", "--api-url", endpoint.url, "--api-key", "none"),
            *("--datasets", "gsm8k", "--dataset-args", json.dumps({"gsm8k": data})),
            *("--generation-config", json.dumps(DRAWN | generation)),
            *("--repeats", str(repeats), "--limit", str(len(problems)), "--eval-batch-size", "32"),
            *("--work-dir", "out", "--no-timestamp"),
        ],
        where,
    )
    (reviews,) = where.glob("out/reviews/atts/*.jsonl")
    right = {}
    for line in reviews.read_text().splitlines():
        score = json.loads(line)["sample_score"]
        right.setdefault(score["group_id"], []).append(score["score"]["value"]["accuracy"])
    return [sum(right[n]) / len(right[n]) for n in range(len(problems))]


def test_accuracy_agrees(problems, reference, endpoint, tmp_path, capsys):
    shares = evaluate(problems, endpoint, tmp_path, REPEATS)
    assert len(endpoint.calls) == PROBLEMS * REPEATS
    told(
        "evalscope",
        capsys,
        accuracy=f"{sum(shares) / len(shares):.3f}",
        lm_eval=f"{reference.accuracy:.3f}",
    )
    agrees(shares, reference.shares)


def test_the_same_request_and_seed_is_the_sessions_sample(problems, endpoint, tmp_path, capsys):
    evaluate(problems, endpoint, tmp_path, 1, seed=7)
    assert {json.loads(body)["seed"] for body, _ in endpoint.calls} == {7}
    same, of = equal(endpoint.calls)
    told("evalscope", capsys, equal=f"{same}/{of}")
    assert same == of == PROBLEMS
