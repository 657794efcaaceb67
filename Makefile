# tradebox: `make run` and `make test` do all set-up themselves; nothing but python3.11 and make is needed.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
SOURCES := $(shell find src tui sql -type f -not -name '*.pyc' 2>/dev/null) pyproject.toml README.md
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup run backtest test check fix matrix bench clean lock
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 18

# One lock file in groups; each stamp installs one group, hash by hash, and nothing else.
$(VENV)/group-%: requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages of group $* ..." >&2
	@awk -v want="$*" '/^# group:/ {on = ($$3 == want)} on' requirements.lock > $(VENV)/$*.lock
	@$(PIP) install --no-deps --require-hashes -r $(VENV)/$*.lock >&2
	@touch $@

$(VENV)/wheel: $(VENV)/group-run $(SOURCES)
	@echo "installing tradebox ..." >&2
	@$(PIP) install --no-deps --no-build-isolation --force-reinstall . >&2
	@touch $@

setup: $(VENV)/wheel  ## make the virtual environment and install the locked packages and tradebox

run: setup  ## run tradebox; without any configuration: SIMULATED, on the stand-in world (ARGS="--help")
	@$(BIN)/tradebox run $(ARGS)

backtest: setup $(VENV)/group-backtest  ## grade strategies on history (ARGS="run --help")
	@$(BIN)/tradebox backtest $(ARGS)

# Everything a test, a check or a bench may import.
TOOLS := $(addprefix $(VENV)/group-,dev backtest cluster peers)

test: setup $(TOOLS)  ## run the tests (ARGS are pytest's)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

check: setup $(TOOLS)  ## ruff, format, mypy strict, import contracts, tidy tests; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=src:tui $(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/arch -p no:cacheprovider

fix: setup $(TOOLS)  ## let ruff mend what it can; write docs/cli.md anew
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@PYTHONPATH=src:tui $(BIN)/python .ci/cli_page.py

matrix: setup $(TOOLS)  ## the slow chaos tests (ARGS are pytest's); rows told in bench/results
	@$(BIN)/python -m bench.slow_tests $(ARGS)

bench: setup $(TOOLS)  ## measure every figure the README quotes; results in bench/results
	@$(BIN)/python -m bench $(ARGS)

lock: setup $(VENV)/group-dev  ## resolve the versions again and write requirements.lock
	@$(BIN)/python .ci/lock.py

clean:  ## remove the virtual environment and caches (never a home)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
