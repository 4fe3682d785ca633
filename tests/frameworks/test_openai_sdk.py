"""The OpenAI SDK: with `{task, doc, repeat}` the texts are those of `lm_eval --model atts`."""

import json
import subprocess

from tests.frameworks.conftest import DRAWN, PROBLEMS, REPEATS, TASK, command_of, run, told

CLIENT = """
import asyncio, json, sys
from openai import AsyncOpenAI

url, drawn, task, repeats = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
questions = json.loads(sys.stdin.read())

async def main():
    async with AsyncOpenAI(base_url=url, api_key="none", timeout=900) as client:
        async def ask(doc, repeat):
            place = {"task": task, "doc": doc, "repeat": repeat}
            answer = await client.chat.completions.create(
                model="atts", messages=[{"role": "user", "content": questions[doc]}],
                **drawn, extra_body={"atts": place},
            )
            (choice,) = answer.choices
            return [doc, repeat, choice.model_extra["atts"]["text"]]
        asked = [(doc, n) for doc in range(len(questions)) for n in range(repeats)]
        return await asyncio.gather(*(ask(*one) for one in asked))

print(json.dumps(asyncio.run(main())))
"""


def test_texts_are_those_of_lm_eval(problems, reference, endpoint, tmp_path, capsys):
    python = command_of("openai", "python")
    (tmp_path / "questions.json").write_text(json.dumps([asked for asked, _ in problems]))
    (tmp_path / "client.py").write_text(CLIENT)
    args = [endpoint.url, json.dumps(DRAWN), TASK, str(REPEATS)]
    with (tmp_path / "questions.json").open() as questions:
        done = subprocess.run(
            [python, "client.py", *args],
            cwd=tmp_path,
            stdin=questions,
            capture_output=True,
            text=True,
            timeout=900,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    texts = {(doc, repeat): text for doc, repeat, text in json.loads(done.stdout)}
    same = sum(texts[name] == text for name, text in reference.texts.items())
    told("OpenAI SDK", capsys, equal=f"{same}/{PROBLEMS * REPEATS}")
    assert texts == reference.texts


def test_its_version_is_told(tmp_path):
    python = command_of("openai", "python")
    assert run([python, "-c", "import openai; print(openai.__version__)"], tmp_path).strip()
