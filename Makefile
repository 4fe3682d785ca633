# The interface for people. Every target sets up what it needs; nothing is installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: audit dist demo test lint lint-release bench docs train-tiny eval-tiny bench-engines bench-ray bench-strategies bench-tail \
	docs-site test-docs test-frameworks test-vllm test-sglang test-ray test-ray-all test-slurm test-real clean help

# torch 2.13.0 is a CPU build where an index offers one; any recent torch does.
$(STAMP): pyproject.toml scripts/install.sh
	PYTHON=$(PYTHON) sh scripts/install.sh $(VENV)
	touch $(STAMP)

demo: $(STAMP)      ## the main job, offline, on the embedded pair: six strategies, one table
	$(BIN)/python examples/demo.py

# Two files at a time, each on one core: fixtures of a file are made once.
test: $(STAMP)      ## everything that needs no engine
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/engines --ignore tests/real --ignore tests/cluster --ignore tests/frameworks

test-docs: $(STAMP)  ## every command of the README and the docs, run as it stands
	ATTS_TEST_DOCS=1 $(BIN)/python -m pytest tests/docs/test_commands.py tests/docs/test_tutorial.py

test-frameworks: $(STAMP)  ## real inspect_ai, lighteval, evalscope, sgl-eval, lm-eval's API model, OpenAI's SDK
	PYTHON=$(BIN)/python bash scripts/test-frameworks.sh

lint: $(STAMP)      ## formatter, linter, type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin

bench: $(STAMP)     ## what is timed: client cost, schedules, grading, conformal decisions
	$(BIN)/python -m benchmarks

docs: $(STAMP)      ## regenerate what the documentation quotes: tables, the picture of the architecture
	$(BIN)/python -m benchmarks --docs
	$(BIN)/python scripts/architecture.py
	$(BIN)/python scripts/compatibility.py

docs-site: $(STAMP)  ## the documentation as a site in build/site; links, spelling and notebook checked
	PYTHON=$(BIN)/python bash scripts/docs-site.sh

train-tiny: $(STAMP)  ## train the embedded pair from nothing
	$(BIN)/python -m training.tiny.train

eval-tiny: $(STAMP)   ## measure the embedded pair and write its model card
	$(BIN)/python -m training.tiny.evaluate

# Each row opens its models in threads of its own: with one arena their memory is used again.
bench-strategies: $(STAMP)  ## every strategy on the embedded pair at one budget: two pages of the docs
	MALLOC_ARENA_MAX=1 $(BIN)/python -m benchmarks.strategies --runs runs/bench-strategies
	MALLOC_ARENA_MAX=1 $(BIN)/python -m benchmarks.strategies --rivals --problems 40 --runs runs/bench-rivals

bench-engines: $(STAMP)  ## what calls cost on real engines, on the processor
	bash scripts/with-engines.sh sglang,vllm $(BIN)/python -m benchmarks.engines

bench-ray:            ## 40 cells on four engine sets of a Ray cluster, over the packing bound
	PYTHON=$(PYTHON) bash scripts/test-ray.sh --collect-only
	$${ATTS_RAY_PYTHON:-.venv-ray/bin/python} -m benchmarks.cluster.packing

bench-tail: $(STAMP)  ## vLLM scores with and without the engine plugin, on a real model
	PYTHON=$(BIN)/python bash scripts/real-model.sh
	bash scripts/with-engines.sh vllm $(BIN)/python -m benchmarks.engines.tail

test-vllm: $(STAMP)   ## real vLLM in an environment of its own
	PYTHON=$(BIN)/python bash scripts/test-vllm.sh

test-sglang: $(STAMP) ## real SGLang in an environment of its own
	PYTHON=$(BIN)/python bash scripts/test-sglang.sh

test-ray:             ## comparisons on a real Ray cluster of several nodes on this machine
	PYTHON=$(PYTHON) bash scripts/test-ray.sh

test-ray-all:         ## likewise, and the embedded pair: the example plan with and without Ray
	PYTHON=$(PYTHON) bash scripts/test-ray.sh --all

test-slurm:           ## the SLURM script on one node, as root; Debian: apt-get install slurm-wlm munge
	PYTHON=$(PYTHON) bash scripts/test-ray.sh --collect-only
	bash scripts/test-slurm.sh

test-real: $(STAMP)   ## a real language model: every engine, every strategy, whole runs
	PYTHON=$(BIN)/python bash scripts/test-real.sh

dist:                 ## sdist and wheel, checked as PyPI does, the wheel installed in a fresh environment
	PYTHON=$(PYTHON) sh scripts/dist.sh .venv-dist

lint-release: $(STAMP)  ## Dockerfile and workflows by linters and their schema
	PYTHON=$(BIN)/python bash scripts/lint-release.sh

audit: $(STAMP)     ## known vulnerabilities of what is installed; "not run" where nobody can say
	$(BIN)/python scripts/audit.py .venv-audit

clean:              ## environments and builds
	rm -rf $(VENV) .venv-audit .venv-dist .venv-dist-wheel .venv-frameworks .venv-ray .venv-vllm .venv-sglang build dist

help:               ## this list
	@sed -n 's/^\([a-z-]*\):.*## */\1\t/p' Makefile | expand -t 20
