"""Loading from a stand-in of the Hub: every set in its real layout, and every refusal.

The Hub's client reads its address when it is imported, so what asks the stand-in is another
process.
"""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from atts_tasks.data import BENCHMARKS
from atts_tiny.paths import draft_path
from hub import Hub

LOAD = """
import json, sys
from atts_harness.errors import SettingError
from atts_tasks.data import load
for name in sys.argv[1:]:
    try:
        print(json.dumps([name, len(load(name)["test"])]))
    except SettingError as error:
        print(json.dumps([name, str(error)]))
"""
TOKENIZERS = """
import json, sys
from atts_harness.errors import SettingError
from atts_harness.tokenizer import load_tokenizer
for name in sys.argv[1:]:
    try:
        print(json.dumps([name, load_tokenizer(name).vocab_size]))
    except SettingError as error:
        print(json.dumps([name, str(error)]))
"""
EVALUATE = """
import sys
from lm_eval import simple_evaluate
from atts_harness.errors import SettingError
try:
    simple_evaluate(model="atts", model_args=sys.argv[1], tasks=["atts_math500"], limit=1)
except SettingError as error:
    print(error)
"""


def parquet(rows):
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def card(configs):
    """A card that names the files of each configuration, as the sets' own cards do."""
    told = ["configs:"]
    for config, (split, path) in configs.items():
        told += [f"- config_name: {config}", "  data_files:"]
        told += [f"  - split: {split}", f"    path: {path}"]
    return ("---\n" + "\n".join(told) + "\n---\n").encode()


@pytest.fixture
def hub(rows):
    """Every set, in the layout that it has on the Hub."""

    def of(name):
        file = rows / BENCHMARKS[name].file
        return [json.loads(line) for line in file.read_text().splitlines()]

    shard = "data/{}-00000-of-00001.parquet".format
    olympiad = "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet"
    with Hub() as hub:
        add = hub.put
        add("HuggingFaceH4/MATH-500", {"test.jsonl": lines(of("math500"))})
        add("HuggingFaceH4/aime_2024", {shard("train"): parquet(of("aime24"))})
        add("math-ai/aime25", {"test.jsonl": lines(of("aime25"))})
        add("math-ai/amc23", {shard("test"): parquet(of("amc23"))})
        add("AI-MO/aimo-validation-amc", {shard("train"): parquet(of("aimo_amc"))})
        add(
            "Hothan/OlympiadBench",
            {
                "README.md": card({"OE_TO_maths_en_COMP": ("train", olympiad)}),
                olympiad: parquet(of("olympiadbench")),
            },
        )
        add(
            "openai/gsm8k",
            {
                "README.md": card({"main": ("test", "main/test-00000-of-00001.parquet")}),
                "main/test-00000-of-00001.parquet": parquet(of("gsm8k")),
            },
        )
        add(
            "Idavidrein/gpqa",
            {
                "README.md": card({"gpqa_diamond": ("train", "gpqa_diamond.csv")}),
                "gpqa_diamond.csv": table(of("gpqa_diamond")),
            },
        )
        yield hub


def ask(hub, tmp_path, code, *arguments, **variables):
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("ATTS_", "HF_"))}
    env = {**plain, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def loaded(hub, tmp_path, *names, **variables):
    shown = ask(hub, tmp_path, LOAD, *names, **variables)
    return dict(map(json.loads, shown))


def test_every_set_loads_in_its_own_layout_and_again_without_the_hub(hub, tmp_path, rows):
    expected = {
        name: len((rows / source.file).read_text().splitlines())
        for name, source in BENCHMARKS.items()
    }
    assert loaded(hub, tmp_path, *BENCHMARKS) == expected
    hub.repositories.clear()
    assert loaded(hub, tmp_path, *BENCHMARKS, HF_HUB_OFFLINE="1") == expected


def test_a_set_that_moved_is_followed(hub, tmp_path):
    hub.repositories["maths/MATH-500"] = hub.repositories["HuggingFaceH4/MATH-500"]
    hub.refuse("HuggingFaceH4/MATH-500", moved="maths/MATH-500")
    assert loaded(hub, tmp_path, "math500") == {"math500": 120}


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ({"status": 401, "headers": {"X-Error-Code": "GatedRepo"}}, "accept the conditions"),
        ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, "accept the conditions"),
        ({"status": 429, "headers": {"Retry-After": "1"}}, "Idavidrein/gpqa"),
    ],
)
def test_a_refusal_is_one_line_with_the_remedy(hub, tmp_path, refusal, words):
    hub.refuse("Idavidrein/gpqa", **refusal)
    message = loaded(hub, tmp_path, "gpqa_diamond")["gpqa_diamond"]
    assert words in message
    assert "ATTS_DATA_DIR" in message
    assert "\n" not in message


def test_without_hub_and_cache_it_is_one_line(hub, tmp_path):
    message = loaded(hub, tmp_path, "math500", HF_HUB_OFFLINE="1")["math500"]
    assert message.startswith("cannot load HuggingFaceH4/MATH-500")
    assert "\n" not in message


def test_a_refusal_comes_before_a_model_is_opened(hub, tmp_path):
    """Nothing answers at the servers' address, so opening them would be the error."""
    hub.refuse("HuggingFaceH4/MATH-500", status=404, headers={"X-Error-Code": "RepoNotFound"})
    nowhere = "http://127.0.0.1:9"
    args = f"backend=sglang,draft_url={nowhere},target_url={nowhere}"
    shown = ask(hub, tmp_path, EVALUATE, args)
    assert shown[-1].startswith("cannot load HuggingFaceH4/MATH-500")


def test_a_models_tokenizer_comes_from_the_hub_or_says_what_is_missing(hub, tmp_path):
    files = {p.name: p.read_bytes() for p in draft_path().iterdir() if p.suffix != ".safetensors"}
    hub.put("org/model", files)
    hub.refuse("org/gated", status=403, headers={"X-Error-Code": "GatedRepo"})
    shown = ask(hub, tmp_path, TOKENIZERS, "org/model", "org/gated", "org/none")
    found = dict(map(json.loads, shown))
    assert found["org/model"] == 570
    for name in ("org/gated", "org/none"):
        assert name in found[name]
        assert "HF_TOKEN" in found[name]
        assert "\n" not in found[name]
