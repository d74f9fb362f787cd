# What a contributor types. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test docs format clean

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
STAMP := .venv/.made
NATIVE := $(wildcard hatch_build.py src/thinwire/kernels/native/*)
TORCH := $(shell grep '^torch==' constraints.txt)

help: ## this list
	@echo 'thinwire: training and optimisation across machines that cannot talk much.'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo 'The first one that needs it makes .venv (Python 3.11 or later; another one: make PYTHON=/path/to/python3).'

demo: $(STAMP) ## a small GPT on slow links, dense and compressed, side by side (ARGS="--rate 50mbit")
	@$(BIN)/thinwire demo $(ARGS)

test: $(STAMP) ## everything that must hold before a commit; stops at the first failure
	@echo '== 1 of 5: ruff check'
	@$(BIN)/ruff check .
	@echo '== 2 of 5: ruff format'
	@$(BIN)/ruff format --check .
	@echo '== 3 of 5: mypy'
	@$(BIN)/mypy
	@echo '== 4 of 5: docs, warnings are errors'
	@$(BIN)/sphinx-build -q -W --keep-going -E -b html docs docs/_build/html
	@echo '== 5 of 5: pytest, with the doctests'
	@$(BIN)/python -m pytest -ra $(ARGS)

docs: $(STAMP) ## the documentation, into docs/_build/html
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'

format: $(STAMP) ## put the code into the one format, and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove what was made, except .venv
	@rm -rf docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# torch is asked for first and alone: together with other requirements pip may go for the build with CUDA, gigabytes of it.
$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit( \
	  f"thinwire needs Python 3.11 or later; {sys.executable} is {v.major}.{v.minor}. Try: make PYTHON=python3.12")'
	@echo 'Making .venv: some minutes, once.'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo 'python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@$(PIP) '$(TORCH)'
	@$(PIP) -e '.[dev]'
	@touch $@
