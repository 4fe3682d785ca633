"""Writes the published traces as the published code wrote them: one file a sample."""

import json

NAME = "Qwen_QwQ-32B_sm500_em500_t15_smt0.8_sct0.8_emt0.8_smc16_emc4"


def history(turns, self_run=False):
    """A sample's `full_history`."""
    names = (
        ("draft", "self_ppl", "self_continue")
        if self_run
        else (
            "small",
            "eval_ppl",
            "eval_generate",
        )
    )
    items = []
    for turn in turns:
        number = turn["turn"]
        items.append({"turn": number, "model": names[0], "output": turn["draft"]})
        if turn.get("ppl") is not None:
            score = {"ppl": turn["ppl"], "percentile": turn["percentile"]}
            items.append({"turn": number, "model": names[1], **score})
        if turn.get("target") is not None:
            items.append({"turn": number, "model": names[2], "output": turn["target"]})
    return items


def write_sample(folder, number, question, turns, answer="invalid", seconds=1.5, **more):
    """One file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "problem_index": number,
        "final_answer": answer,
        "duration_seconds": seconds,
        "full_history": history(turns),
        "question": question,
        **more,
    }
    path = folder / f"problem_{number:04d}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_traces(folder, samples):
    """A whole run of the second era: answers extracted again."""
    for sample in samples:
        again = {
            "final_answer_regex": sample["answer_regex"],
            "final_answer_llm": sample["answer"],
        }
        write_sample(
            folder,
            sample["sample"],
            sample["question"],
            sample["turns"],
            sample["answer"],
            sample["duration_s"],
            **again,
        )
