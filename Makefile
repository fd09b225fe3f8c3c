# `make help` lists what there is. Works with GNU make on Linux, macOS, and Windows with a POSIX shell.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/.installed
EXTRAS ?= train,dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CONSTRAINTS ?= constraints.txt
LOCK ?=
# The native engine: what it is built from, and the folder that it is built into to be checked.
KERNELS := src/mnistnet/training/kernels
SOURCES := CMakeLists.txt src/mnistnet/model/architecture.py $(wildcard $(addprefix $(KERNELS)/*.,cpp h cmake))
SANITIZED := $(CURDIR)/build/sanitized
# Two processes, each with a part of the files and one thread. Tests start hundreds of processes,
# and where bytecode is not kept, each compiles the sources again.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
# What the static site takes from npm.
NPM := node_modules/.package-lock.json
SUDO = $(if $(filter-out 0,$(shell id -u)),sudo)
APT = $(SUDO) apt-get update && $(SUDO) apt-get install --yes --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help install train test test-all browser serve site sanitize check format race clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml $(CONSTRAINTS) $(SOURCES) $(LOCK)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
ifdef LOCK
	$(PIP) --require-hashes -r $(LOCK)
	$(PIP) --no-deps --no-build-isolation --config-settings=wheel.cmake=false -e .
else
	$(PIP) $(CONSTRAINTS:%=-c %) -e ".$(EXTRAS:%=[%])"
	@ls $(KERNELS)/libmnistnet.* >/dev/null 2>&1 || \
		echo 'The native engine was not built, so PyTorch trains. Why: $(BIN)/python -m pip install -v --no-deps -e .'
endif
	touch $(READY)

install: $(READY)  ## create .venv and install everything (the other targets do so too)

train: $(READY)  ## train on the 60,000 images; results in runs/
	$(BIN)/python train.py

test: $(READY)  ## run the tests, in two and a half minutes on two cores
	$(PYTEST)

test-all: $(READY)  ## the slow tests: kills, whole processes, fuzzing, a browser, workflows
	$(PYTEST) -m slow

browser:  ## install Chromium and npm, which the tests in a browser need (Debian, Ubuntu)
	command -v chromium || command -v google-chrome || { $(APT) chromium; }
	command -v npm || { $(APT) npm; }

$(NPM): package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	touch $@

# Installs only what that needs, unless all is installed.
serve:  ## draw digits on a page, and see them read: http://127.0.0.1:8000
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	test $(READY) -nt pyproject.toml || $(PIP) $(CONSTRAINTS:%=-c %) --config-settings=wheel.cmake=false -e ".[serve]"
	$(BIN)/mnistnet serve

site: $(READY) $(NPM)  ## write the page as a static site, for any web server, into site/
	$(BIN)/mnistnet site -o site $(BUNDLE:%=--bundle %) $(REPORT:%=--report %)

sanitize: $(READY)  ## test the native engine under GCC's address and undefined-behaviour sanitizers
	rm -rf $(SANITIZED)
	$(PIP) --no-deps --target $(SANITIZED) --config-settings=cmake.build-type=Sanitize .
	test -f $(SANITIZED)/$(KERNELS:src/%=%)/libmnistnet.so
	LD_PRELOAD=$$($(CXX) -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
		PYTHONPATH=$(SANITIZED) $(BIN)/python -m pytest -s -k native tests/training

check: $(READY)  ## format, lint, types, workflows and the image's recipe, as in CI
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/zizmor --offline --no-progress --persona auditor .github/workflows
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)

format: $(READY)  ## format the code
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

race: $(READY)  ## time this project against a course's training loop, in pairs
	$(BIN)/python benchmarks/race.py

clean:  ## remove .venv, what was built, and caches; runs/ stays
	rm -rf $(VENV) node_modules site build $(KERNELS)/libmnistnet.* .mypy_cache .pytest_cache .ruff_cache
