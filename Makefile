# The one vocabulary of the template, for people and CI alike. `make` alone lists the targets.

PYTHON ?= python3
BIN := .venv/bin
TREE := {{cookiecutter.project_slug}}
DEMO := build/penguins-demo
# Where `make new` puts the project, and what it is made from; a project remembers the latter for its updates.
OUT ?= ..
TEMPLATE ?= $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help demo new test test-all bench bench-quick lint format clean

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.bake ## Make the penguins project in build/, set it up, train, serve, and predict once
	@rm -rf $(DEMO)
	@$(BIN)/python scripts/bake.py build starter=penguins project_slug=$(notdir $(DEMO)) >/dev/null
	@$(MAKE) --no-print-directory -C $(DEMO) setup
	@$(MAKE) --no-print-directory -C $(DEMO) train
	@$(DEMO)/.venv/bin/python scripts/demo.py $(DEMO)

new: .venv/.dev ## Answer the questions and make a project in OUT (the folder beside this one by default)
	@$(BIN)/python scripts/new.py "$(TEMPLATE)" "$(OUT)"

test: .venv/.dev ## Run the tests, but for the slow ones
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-all: .venv/.dev ## Run all tests, the slow ones too
	$(BIN)/python -m pytest $(ARGS)

bench: .venv/.bake ## Measure ours, the limits and the peers side by side, which takes hours; needs wrk
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: .venv/.bake ## Measure ours, naive and the limits, in some minutes; needs wrk
	@$(BIN)/python -m benchmarks --quick $(ARGS)

lint: .venv/.dev ## Check style, formatting and types of the template's own code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev ## Mend style and formatting where that can be done safely
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .
	cd '$(TREE)' && ../$(BIN)/ruff check --fix . && ../$(BIN)/ruff format .

clean: ## Remove what was built, and what tools left behind; .venv stays
	rm -rf build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	cd '$(TREE)' && rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find hooks scripts tests '$(TREE)' -name __pycache__ -prune -exec rm -rf {} +

# Installing is done by uv, which is installed into .venv if there is none.
UV = $$(command -v uv || echo $(BIN)/uv)

.venv/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "No virtual environment: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv
	@touch $@

.venv/.bake: .venv/.uv pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --group bake
	@touch $@

# The code of a generated project is checked here too, so what it depends on is installed beside the template's tools.
.venv/.dev: .venv/.bake $(TREE)/pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --group dev
	@rm -rf build/dependencies && $(BIN)/python scripts/bake.py build project_slug=dependencies >/dev/null
	@$(UV) pip install --quiet --python $(BIN)/python --requirement build/dependencies/pyproject.toml --all-extras
	@touch $@
