# mlTetris: `make run` trains an agent and shows it, `make test` runs the tests.
# Everything is installed into .venv; compiled kernels lie in the user's cache folder.
# Setting up speaks on stderr, so that stdout is what the program says.

# The first Python on the path that is new enough; or say make PYTHON=...
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
# Where to take torch from; empty: the default index. See "Small install" in the README.
TORCH_INDEX ?=
# Options for `make run` and the like, e.g. make run ARGS="--target-lines 5000"
ARGS ?=
# Options for `make test`, e.g. make test ARGS_TEST="tests/game -x"
ARGS_TEST ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
KERNELS := $(wildcard $(addprefix server/mltetris_server/,game/*.py learning/*.py learning/*/*.py))
PROTOS := $(wildcard protos/mltetris/*/*.proto protos/mltetris/*/*/*.proto)

.DEFAULT_GOAL := help
.PHONY: help run test test-all chaos bench bench-learning setup setup-dev lint format proto baseline clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: setup ## Train an agent and watch it get good
	@$(BIN)/mltetris up $(ARGS)

test: setup-dev ## Run the fast tests (lint and types included)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS_TEST)

test-all: setup-dev ## Run every test, the slow ones too
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "slow or not slow" $(ARGS_TEST)

chaos: setup-dev ## Kill servers and workers at random; count what was lost (ARGS="--kills 50 --seed 7")
	cd tests && ../$(BIN)/python -m chaos $(ARGS)

bench: setup-dev ## Print the figures the documentation quotes
	cd tests && ../$(BIN)/python -m bench

bench-learning: setup-dev ## Print how well every algorithm learns (hours; ARGS="td --seeds 3")
	cd tests && ../$(BIN)/python -m bench.family $(ARGS)

setup: $(VENV)/.warm ## Install what running needs

setup-dev: $(VENV)/.dev $(VENV)/.warm ## Install what developing needs

$(VENV)/.venv:
	@test -n "$(PYTHON)" || { echo "mlTetris needs Python 3.11, 3.12 or 3.13 on the PATH (or: make PYTHON=/path/to/python3.12 ...)"; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version); the first time takes a few minutes ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch >&2)
	@touch $@


# A goal that needs the development install gets it in one step: it holds the other.
ifneq ($(filter test test-all chaos bench bench-learning setup-dev lint format proto baseline,$(MAKECMDGOALS)),)
$(VENV)/.run: $(VENV)/.dev
	@touch $@
else
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.venv
	@$(PIP) -e ".[server,viewer,plot]" >&2
	@touch $@
endif

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.venv
	@$(PIP) -e ".[dev]" >&2
	@touch $@

$(VENV)/.warm: $(VENV)/.run $(KERNELS)
	@$(BIN)/python -m mltetris_server.worker.warm >&2
	@touch $@


lint: setup-dev ## Check style, types, imports and the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --exit-code -d --path protos/mltetris
	$(BIN)/buf build --exclude-source-info -o - | $(BIN)/buf breaking - --against protos/baseline.binpb

format: setup-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format -w --path protos/mltetris

proto: setup-dev ## Generate protos/gen again
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python protos/generate.py

baseline: setup-dev ## Make the present contract the one that must not break (at a release)
	$(BIN)/buf build --exclude-source-info -o protos/baseline.binpb

clean: ## Remove what was installed and cached; models and history stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find server clients tests protos -name __pycache__ -type d -prune -exec rm -rf {} +
