"""Which sample a call is: epochs are repeats, later calls are problems of their own."""

from dataclasses import dataclass, field

import pytest
from atts_inspect.naming import Names, SampleRequest, digest

from atts_harness.errors import SettingError
from atts_harness.message import Message


@dataclass
class Stored:
    id: object = 3
    metadata: dict | None = None


@dataclass(eq=False)
class Running:
    """As much of a running sample as is looked at."""

    task: str = "quiz"
    epoch: int = 1
    sample: Stored = field(default_factory=Stored)


def asked(text="2+2?"):
    return (Message("user", text),)


def test_a_sample_is_named_by_task_id_and_epoch():
    name = Names().name(Running(epoch=4), asked())
    assert (name.task, name.doc, name.repeat) == ("quiz", 3, 3)


@pytest.mark.parametrize("id_", ["train/17", -1, True, "3"])
def test_an_id_that_is_no_number_of_a_document_has_a_digest(id_):
    name = Names().name(Running(sample=Stored(id_)), asked())
    assert name.doc == digest(str(id_)) < 1 << 48


def test_its_metadata_may_name_it_as_lm_eval_does():
    metadata = {"atts": {"task": "sums", "doc": 7, "generation": {"turns": 2}, "kind": "choice"}}
    name = Names().name(Running(sample=Stored("x", metadata)), asked())
    assert name == SampleRequest("sums", 7, repeat=0, generation={"turns": 2}, kind="choice")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("sums", "give a mapping with task, doc"),
        ({"generation": 3}, "give a mapping"),
        ({"tasks": "sums"}, "did you mean task"),
    ],
)
def test_metadata_that_say_nothing_are_refused(told, message):
    with pytest.raises(SettingError, match=rf"metadata\['atts'\] of the sample: .*{message}"):
        Names().name(Running(sample=Stored(1, {"atts": told})), asked())


def test_later_calls_are_problems_of_their_own_whatever_their_order():
    texts = ["again?", "and?", "again?"]
    orders = []
    for order in (texts, [texts[1], texts[0], texts[2]]):
        names, running = Names(), Running()
        assert names.name(running, asked()).task == "quiz"
        later = [names.name(running, asked(text)) for text in order]
        assert {(name.task, name.repeat) for name in later} == {("quiz#later", 0)}
        orders.append(sorted(name.doc for name in later))
    assert orders[0] == orders[1]
    assert len(set(orders[0])) == 3


def test_epochs_and_samples_do_not_meet():
    names = Names()
    runs = [Running(epoch=epoch, sample=Stored(id_)) for epoch in (1, 2) for id_ in (0, 1)]
    found = [(name.doc, name.repeat) for run in runs if (name := names.name(run, asked()))]
    assert found == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_a_call_outside_an_evaluation_is_named_by_its_messages():
    one, same, other = (Names().name(None, asked(text)) for text in ("a", "a", "b"))
    assert (one.task, one.repeat) == ("inspect", None)
    assert one == same != other
