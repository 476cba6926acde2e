# `make` lists the targets. A fresh machine needs Python 3.10 or newer, make and git, nothing else:
# the first target makes the virtual environment and installs everything into it, once.

VENV ?= .venv
JOBS ?= 2
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-slow lint format types docs html docs-test dist bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## make the virtual environment and install what is tested

$(STAMP): requirements-dev.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed, got none. Set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: $(STAMP)  ## train a small model on shapes drawn here; prints the path of the picture last
	@$(BIN)/corekit demo

test: $(STAMP)  ## the fast suite: about three minutes on two cores
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(STAMP)  ## the rest: tests marked slow, or gpu where there is one
	$(PYTEST) -m "slow or gpu"

test-all: $(STAMP)  ## both
	$(PYTEST)

lint: $(STAMP)  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## correct what can be corrected without thinking
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy: strict on floors 0 to 3 and on the specs of plugins
	$(BIN)/mypy

docs: $(STAMP)  ## write the generated parts of the documentation anew
	$(BIN)/python docs/generate.py

html: $(STAMP)  ## build the documentation with Sphinx; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

docs-test: $(STAMP)  ## run the documentation: every example, every command, every name
	$(PYTEST) tests/test_docs.py

dist: $(STAMP)  ## source distributions and wheels of all packages, in dist/; examples below it
	@rm -rf dist
	@build() { $(BIN)/python -m build --no-isolation --outdir "$$1" "$$2" >dist.log 2>&1 \
		|| { cat dist.log; rm -f dist.log; exit 1; }; }; \
	for package in . $(wildcard plugins/*/); do build dist "$$package"; done; \
	for package in $(patsubst %/,%,$(dir $(wildcard examples/*/pyproject.toml))); do \
		build dist/examples "$$package"; done; rm -f dist.log
	@ls dist/*.whl dist/examples/*.whl

bench: $(STAMP)  ## measure: see benchmarks/README.md
	$(BIN)/python benchmarks/levels.py
	$(BIN)/python benchmarks/pointcloud.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/trainer.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/data.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/conformance.py

clean:  ## remove what was built; runs/ and the virtual environment stay
	rm -rf dist build .pytest_cache .ruff_cache .mypy_cache
