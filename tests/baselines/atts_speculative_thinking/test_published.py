import json

import pytest
from atts_speculative_thinking import published

from atts_harness.analysis.leaderboard.build import report
from atts_harness.errors import SettingError
from atts_harness.importing.write import write_run


def entry(*texts, heat="0.6"):
    return {
        "responses": {heat: [{"content": t, "correctness": True, "reason": ""} for t in texts]},
        "token_usages": {
            heat: [
                {"completion_tokens": 10 + n, "time_spend": 2.5, "try_correct": 1}
                for n in range(len(texts))
            ]
        },
    }


def write(folder, content, name="run.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_questions_and_responses_come_in(tmp_path):
    content = {
        "What is 2 + 2?": entry("\\boxed{4}", "\\boxed{5}"),
        "And 1 + 1?": entry("\\boxed{2}"),
    }
    folder = write(tmp_path / "results", content)
    (folder / "metrics.json").write_text('{"accuracy": 0.5}', encoding="utf-8")
    assert published.recognises(folder)
    run = published.read(folder, "sums")
    first, second = run.questions
    assert [sample.text for sample in first.samples.values()] == ["\\boxed{4}", "\\boxed{5}"]
    assert first.samples[1].kept_tokens == {"strategy": 11}
    assert first.samples[1].ended == 2.5
    assert (second.repeats, len(second.samples)) == (2, 1)


def test_the_run_is_graded(tmp_path):
    folder = write(tmp_path / "results", {"What is 2 + 2?": entry("\\boxed{4}", "\\boxed{5}")})
    run = published.read(folder, "sums")
    golds = {"What is 2 + 2?": "4"}
    write_run(run, tmp_path / "run", task="sums", program=published.FORMAT.name, golds=golds)
    (row,) = report([tmp_path / "run"]).leaderboard.rows
    assert row.pass_at["1"].value == 0.5
    assert row.takeover is None


def test_several_runs_in_one_folder_are_refused(tmp_path):
    folder = write(tmp_path / "results", {"q": entry("a")})
    write(folder, {"q": entry("b")}, "other.json")
    with pytest.raises(SettingError, match="several runs"):
        published.read(folder, "sums")


def test_several_temperatures_are_refused(tmp_path):
    both = entry("a")["responses"] | entry("b", heat="0.8")["responses"]
    folder = write(tmp_path / "results", {"q": {"responses": both}})
    with pytest.raises(SettingError, match="2 temperatures"):
        published.read(folder, "sums")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"q": {"responses": 3}}'])
def test_other_files_are_not_taken_for_one(tmp_path, text):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a.json").write_text(text, encoding="utf-8")
    assert not published.recognises(folder)


def test_usages_that_do_not_belong_to_the_responses_are_refused(tmp_path):
    content = {"q": entry("a", "b")}
    content["q"]["token_usages"]["0.6"].pop()
    folder = write(tmp_path / "results", content)
    with pytest.raises(SettingError, match="2 responses and 1 token_usages"):
        list(published.read(folder, "sums").questions)


def test_a_time_below_zero_is_refused(tmp_path):
    content = {"q": entry("a")}
    content["q"]["token_usages"]["0.6"][0]["time_spend"] = -1.0
    folder = write(tmp_path / "results", content)
    with pytest.raises(SettingError, match="time_spend"):
        published.read(folder, "sums")
