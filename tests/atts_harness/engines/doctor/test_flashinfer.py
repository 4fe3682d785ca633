"""Whether FlashInfer, its kernels, CUDA and the engine's pin fit together."""

import sys

import pytest

from atts_harness.engines.doctor.flashinfer import Installed, judge, look, precompile

PIN = "flashinfer_python[cu13]==0.7.2"


def levels(versions, *, gpu=True, pins=PIN):
    installed = Installed(versions, pins, "sglang 0.5.23" if pins else None)
    return {finding.subject: finding.level for finding in judge(installed, gpu=gpu)}


FITTING = {
    "flashinfer-python": "0.7.2",
    "flashinfer-cubin": "0.7.2",
    "flashinfer-jit-cache": "0.7.2+cu130",
    "torch": "2.13.0+cu130",
}


def test_what_fits():
    told = levels(FITTING)
    assert told == dict.fromkeys(["flashinfer", "pin", "cubins", "JIT cache"], "ok")


@pytest.mark.parametrize(
    ("change", "subject", "level"),
    [
        ({"flashinfer-cubin": "0.7.1"}, "cubins", "error"),
        ({"flashinfer-cubin": None}, "cubins", "warning"),
        ({"flashinfer-jit-cache": "0.7.2+cu129"}, "JIT cache", "error"),
        ({"flashinfer-jit-cache": None}, "JIT cache", "warning"),
        ({"flashinfer-python": "0.7.3"}, "pin", "error"),
        ({"flashinfer-python": None}, "flashinfer", "error"),
        ({"torch": "2.13.0+cpu"}, "CUDA", "error"),
    ],
)
def test_what_does_not(change, subject, level):
    versions = {k: v for k, v in (FITTING | change).items() if v is not None}
    assert levels(versions)[subject] == level


def test_every_misfit_says_what_to_do():
    wrong = Installed({"flashinfer-python": "0.6.0", "flashinfer-cubin": "0.5"}, PIN, "sglang 1")
    for finding in judge(wrong, gpu=True):
        assert finding.remedy or finding.level == "ok"


def test_without_a_gpu_nothing_is_missing():
    assert levels({}, gpu=False) == {"flashinfer": "note"}
    assert levels({}, gpu=True, pins="") == {"flashinfer": "note"}


@pytest.mark.parametrize(
    ("version", "command"),
    [
        ("0.7.2", ["flashinfer", "download-kernels"]),
        ("0.6.11.post3", ["flashinfer", "download-cubin"]),
        ("0.2.14", ["flashinfer", "--download-cubin"]),
        ("0.0.0+unknown", ["flashinfer", "--download-cubin"]),
    ],
)
def test_kernels_are_fetched_as_that_version_does(version, command):
    assert precompile(version) == command


def test_an_environment_is_asked_for_its_packages():
    found = look(sys.executable, "pytest")
    assert found.engine is not None
    assert found.engine.startswith("pytest ")
    assert found.pins == ""
    assert look(sys.executable, "no-such-package").engine is None
