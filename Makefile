# `make help` lists what there is. Works with GNU make on Linux, macOS, and Windows with a POSIX shell.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/.installed
EXTRAS ?= train,dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK ?=

.DEFAULT_GOAL := help
.PHONY: help install train test test-all check format race inference clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt $(LOCK)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
ifdef LOCK
	$(PIP) --require-hashes -r $(LOCK)
	$(PIP) --no-deps --no-build-isolation -e .
else
	$(PIP) -c constraints.txt -e ".$(EXTRAS:%=[%])"
endif
	touch $(READY)

install: $(READY)  ## create .venv and install everything (the others do so themselves)

train: $(READY)  ## train on the 60,000 images; results land in runs/
	$(BIN)/python train.py

test: $(READY)  ## prove it, in under 4 minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(READY)  ## the slow tests too: kills, whole processes, fuzzing, workflows
	$(BIN)/python -m pytest -m slow

check: $(READY)  ## format, lint, types and workflows, as CI demands them
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/zizmor --offline --no-progress --persona auditor .github/workflows
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)

format: $(READY)  ## put the code in the house's format
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

race: $(READY)  ## ours against a course's training loop, as whole processes in turn
	$(BIN)/python benchmarks/race.py

clean:  ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
