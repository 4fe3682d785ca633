"""lighteval's inspect path with the provider."""

import json

import msgspec

from tests.frameworks.conftest import MODEL, PROBLEMS, REPEATS, TURNS, agrees, command_of, run, told

# lighteval's inspect path runs its own tasks alone; this one asks a question as it stands. The
# folder is what `datasets` reads in place of the hub's data set of this name.
TASK = "arithmetic:1dc"
DATA = "EleutherAI/arithmetic"
CARD = """---
configs:
- config_name: arithmetic_1dc
  data_files:
  - split: validation
    path: validation.jsonl
---
"""


def bank_of_any_task(path):
    """The chain task's bank, for a task of another name."""
    from atts_tiny.paths import BANKS

    from atts_harness.conformal.bankfile import read_bank, write_bank

    bank = read_bank(BANKS / "atts_chain.json")
    unnamed = msgspec.structs.replace(bank.provenance, task=None, wording=None)
    write_bank(msgspec.structs.replace(bank, provenance=unnamed), path)


def test_texts_are_the_sessions_and_accuracy_agrees(problems, reference, tmp_path, capsys):
    command = command_of("lighteval", "lighteval")
    folder = tmp_path / DATA
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    rows = [json.dumps({"context": asked, "completion": answer}) for asked, answer in problems]
    (folder / "validation.jsonl").write_text("\n".join(rows) + "\n")
    bank_of_any_task(tmp_path / "bank.json")
    args = {**MODEL, "preset": "tiny", "bank": str(tmp_path / "bank.json"), **TURNS}
    run(
        [
            *(command, "eval", "atts/atts", TASK, "--epochs", str(REPEATS)),
            *("--max-tokens", "640", "--timeout", "3600", "--max-connections", "80"),
            *("--display", "plain", "--log-dir", "logs"),
            *("--model-args", ",".join(f"{name}={value}" for name, value in args.items())),
        ],
        tmp_path,
    )
    logs = sorted(str(path) for path in tmp_path.glob("logs/*.eval"))
    log = json.loads(run([command_of("lighteval", "inspect"), "log", "dump", logs[-1]], tmp_path))
    assert log["status"] == "success"
    expected = session_texts(problems, args)
    right = {}
    same = 0
    for sample in log["samples"]:
        facts = sample["output"]["metadata"]["atts"]
        name = (facts["sample"]["doc"], facts["sample"]["repeat"])
        same += facts["text"] == expected[name]
        right.setdefault(sample["id"], []).append(sample["scores"]["math_scorer"]["value"] == "C")
    shares = [sum(right[n]) / len(right[n]) for n in sorted(right)]
    told(
        "lighteval",
        capsys,
        equal=f"{same}/{PROBLEMS * REPEATS}",
        accuracy=f"{sum(shares) / len(shares):.3f}",
        lm_eval=f"{reference.accuracy:.3f}",
    )
    assert same == PROBLEMS * REPEATS
    agrees(shares, reference.shares)


def session_texts(problems, args):
    """By document and repeat what `session.sample` says; documents count from 1 there."""
    import asyncio

    from atts_harness.message import Message
    from atts_harness.running.harness import Harness
    from atts_harness.running.problems import framing, make_problem, terms_of
    from atts_harness.settings import parse_settings

    settings = parse_settings(args)
    terms = terms_of({"max_gen_toks": 640}, "request")

    async def ask():
        async with Harness.live(settings) as (session, models):
            strategy = None
            asked = {}
            for number, (question, _) in enumerate(problems, 1):
                messages = (Message("user", question),)
                if strategy is None:
                    provenance = {"task": TASK, "prompt": framing(messages)}
                    strategy = models.strategy(terms.values, provenance)
                problem = make_problem(TASK, number, messages, terms, settings)
                for repeat in range(REPEATS):
                    asked[number, repeat] = session.sample(
                        problem, repeat=repeat, strategy=strategy
                    )
            records = await asyncio.gather(*asked.values())
            return {name: record.text for name, record in zip(asked, records, strict=True)}

    return asyncio.run(ask())
