"""Runs of the embedded pair know by content which model answers."""

import json
import shutil

import pytest

pytest.importorskip("torch", reason="real models need the extra `transformers`")

from atts_tiny.paths import draft_path

from atts_harness.errors import JournalMismatchError, SettingError
from atts_harness.journal.reader import open_run
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.testing.mock_runs import make_groups

DATED = "{{ '<|system|>' ~ strftime_now('%H:%M:%S.%f') ~ '<|end|>' }}"
LOOP = "{%- for m in messages -%}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{%- endfor -%}"
OPENS = "{%- if add_generation_prompt -%}{{ '<|assistant|><think>\n' }}{%- endif -%}"


@pytest.fixture
def folder(tmp_path):
    return copy(tmp_path / "models" / "draft")


def copy(place, template=None):
    shutil.copytree(draft_path(), place)
    for file in place.iterdir():
        file.chmod(0o644)
    if template is not None:
        config = place / "tokenizer_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": template}))
        (place / "chat_template.jinja").unlink(missing_ok=True)
    return place


def run(model, run_dir, documents=1, **given):
    settings = {"strategy": "draft-only", "backend": "transformers", "draft": str(model)}
    settings |= {"max_gen_toks": 8, "run_dir": str(run_dir), "progress": "off", **given}
    with Harness(parse_settings(settings)) as harness:
        groups = make_groups(documents, 1, harness.strategy({}, {"task": "mock"}), max_tokens=8)
        return harness.run(groups, show=False)


def test_a_run_goes_on_with_the_same_weights_at_another_path(folder, tmp_path):
    run(folder, tmp_path / "run")
    moved = folder.rename(tmp_path / "moved")
    assert len(run(moved, tmp_path / "run", documents=2)) == 2


def test_weights_that_were_replaced_in_the_same_folder_are_another_model(folder, tmp_path):
    run(folder, tmp_path / "run")
    file = folder / "model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(JournalMismatchError, match=r"models\.draft\.weights was '\w+', now"):
        run(folder, tmp_path / "run", documents=2)


def test_another_number_format_is_another_model(folder, tmp_path):
    run(folder, tmp_path / "run", dtype="float32")
    with pytest.raises(JournalMismatchError, match=r"models\.draft\.dtype was 'float32'"):
        run(folder, tmp_path / "run", documents=2, dtype="float64")


def test_an_end_of_turn_that_is_listed_later_is_another_model(folder, tmp_path):
    run(folder, tmp_path / "run")
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 4, 9]}')
    with pytest.raises(JournalMismatchError, match=r"models\.draft\.eos_ids was"):
        run(folder, tmp_path / "run", documents=2)


def test_a_template_with_a_date_goes_on_with_the_date_of_the_beginning(tmp_path):
    model = copy(tmp_path / "dated", DATED + LOOP + OPENS)
    run(model, tmp_path / "run")
    with open_run(tmp_path / "run") as first:
        moment = first.record.roles["draft"]["moment"]
    run(model, tmp_path / "run", documents=2)
    with open_run(tmp_path / "run") as second:
        assert second.record.roles["draft"]["moment"] == moment
        assert second.complete


def test_a_template_that_drops_the_question_is_refused_before_anything_is_generated(tmp_path):
    template = LOOP.replace("m.content", "m.content[0].text") + OPENS
    model = copy(tmp_path / "parts", template)
    with pytest.raises(SettingError, match="draft_chat_template: the template drops or changes"):
        run(model, tmp_path / "run")
