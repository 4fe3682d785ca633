import json

import pytest
import torch
from atts_tasks.chain.problems import make_problems
from atts_tiny import bank_path, draft_path, target_path
from atts_tiny.paths import BANKS, MODELS

from atts_harness.errors import SettingError
from training.tiny.card import render_card
from training.tiny.language import check_steps, split_steps
from training.tiny.measure import answered
from training.tiny.model import load_model, save_model
from training.tiny.sampling import log_probabilities, next_logits, sample
from training.tiny.tokenizer import Codec

CODEC = Codec()
FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
FOLDERS = {"draft": draft_path(), "target": target_path()}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def role(request):
    return request.param


@pytest.fixture(scope="module")
def hugging_face(role):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDERS[role], dtype=torch.float32)
    return model.eval()


def test_folders_are_complete_and_small():
    for folder in FOLDERS.values():
        assert {file.name for file in folder.iterdir()} == FILES
    total = sum(file.stat().st_size for folder in FOLDERS.values() for file in folder.iterdir())
    assert total < 5_000_000


def test_configuration_is_a_plain_llama_in_fp16(role):
    safetensors = pytest.importorskip("safetensors.torch")
    config = json.loads((FOLDERS[role] / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["hidden_size"] % config["num_attention_heads"] == 0
    assert config["max_position_embeddings"] >= 2048
    assert config["vocab_size"] == CODEC.size
    weights = safetensors.load_file(FOLDERS[role] / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


def test_logits_equal_those_of_transformers(role, hugging_face):
    prompts = [CODEC.prompt(problem.prompt) for problem in make_problems("mixed", "test", 3)]
    own = next_logits(*load_model(FOLDERS[role]), prompts)
    for prompt, logits in zip(prompts, own, strict=True):
        with torch.inference_mode():
            theirs = hugging_face(torch.tensor([prompt])).logits[0, -1]
        torch.testing.assert_close(logits, theirs, atol=1e-3, rtol=1e-3)


def test_log_probabilities_of_a_batch_equal_single_ones(role):
    model = load_model(FOLDERS[role])
    prompts = [CODEC.prompt(problem.prompt) for problem in make_problems("mixed", "test", 5)]
    together = log_probabilities(*model, prompts)
    for prompt, found in zip(prompts, together, strict=True):
        assert found.shape == (len(prompt) - 1,)
        torch.testing.assert_close(found, log_probabilities(*model, [prompt])[0])


@pytest.fixture(scope="module")
def solved():
    problems = make_problems("mixed", "test", 40)
    prompts = [CODEC.prompt(problem.prompt) for problem in problems]
    return problems, {
        name: sample(*load_model(folder), prompts, limit=400, stops=[CODEC.end], temperature=0.0)
        for name, folder in FOLDERS.items()
    }


@pytest.mark.parametrize(("name", "least"), [("draft", 0.15), ("target", 0.75)])
def test_greedy_decoding_solves_held_out_problems(solved, name, least):
    problems, written = solved
    right = [
        answered(CODEC.decode(ids), problem.answer)
        for problem, ids in zip(problems, written[name], strict=True)
    ]
    assert sum(right) / len(right) >= least


def test_greedy_text_equals_that_of_transformers(role, hugging_face, solved):
    problems, written = solved
    for number in range(2):
        prompt = CODEC.prompt(problems[number].prompt)
        ids = hugging_face.generate(torch.tensor([prompt]), max_new_tokens=400, do_sample=False)
        assert ids[0, len(prompt) :].tolist() == written[role][number]


def test_answers_have_the_form_of_a_reasoning_model(solved):
    problems, written = solved
    for problem, ids in zip(problems, written["target"], strict=True):
        text = CODEC.decode(ids)
        thinking, _, answer = text.partition("</think>")
        assert thinking.endswith("\n")
        assert answer.startswith("\n\n")
        assert answer.endswith("}.<|end|>")
        checks = check_steps(problem.chain, split_steps(text))
        assert [check.kind for check in checks[-2:]] == ["closing", "answer"]


def test_samples_repeat_with_their_seed_and_differ_with_another(role):
    model = load_model(FOLDERS[role])
    prompts = [CODEC.prompt(make_problems("hard", "test", 1)[0].prompt)] * 6
    arguments = {"limit": 60, "stops": [CODEC.end]}
    one = sample(*model, prompts, seed=1, **arguments)
    assert one == sample(*model, prompts, seed=1, **arguments)
    assert one != sample(*model, prompts, seed=2, **arguments)


def test_saving_what_was_loaded_changes_nothing(role, tmp_path):
    weights, shape = load_model(FOLDERS[role])
    save_model(tmp_path, weights, shape, CODEC)
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (FOLDERS[role] / file).read_bytes(), file


def test_card_is_rendered_from_what_the_evaluation_wrote():
    figures = json.loads((MODELS / "evaluation.json").read_text())
    training = json.loads((MODELS / "training.json").read_text())
    card = (MODELS.parent / "MODEL_CARD.md").read_text()
    assert card == render_card(figures, training)
    assert figures["sha256"] == training["sha256"]


def test_recorded_digests_are_those_of_the_shipped_weights(role):
    pytest.importorskip("torch")
    from training.tiny.train import digest

    figures = json.loads((MODELS / "evaluation.json").read_text())
    assert figures["sha256"][role] == digest(FOLDERS[role])


def test_unknown_bank_names_those_that_are_shipped():
    with pytest.raises(SettingError, match="nothing_like_it"):
        bank_path("nothing_like_it")
    assert all(bank_path(file.stem) == file for file in BANKS.glob("*.json"))
