# The one vocabulary of the template, for people and CI alike. `make` alone lists the targets.

PYTHON ?= python3
BIN := .venv/bin
TREE := {{cookiecutter.project_slug}}
DEMO := build/penguins-demo
# Which tests run: those that are not slow, or all.
MARKS = -m "not slow"
test-all: MARKS =
# How the library's tests are shared between two processes; its conftest.py says what belongs together.
PROCESSES := -n2 --dist=loadgroup --no-loadscope-reorder
# Where `make new` puts the project, and what it is made from; a project remembers the latter for its updates.
OUT ?= ..
TEMPLATE ?= $(CURDIR)
# The projects that `make jobs` is about: PROJECT="../penguin-species ../diabetes-progression"
PROJECT ?=
# The machines: a folder of ansible/inventories, or the path of one elsewhere. ARGS goes to ansible-playbook.
INVENTORY ?= example
VAULT_PASSWORD ?= $(CURDIR)/ansible/.vault-password

.DEFAULT_GOAL := help
.PHONY: help demo new dist test test-template test-library test-all bench bench-quick lint format clean \
	jobs jobs-update jenkins jenkins-secrets vault vault-edit hosts hosts-verify hosts-upgrade hosts-remove

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.bake ## Make the penguins project in build/, set it up, train, serve, and predict once
	@rm -rf $(DEMO)
	@$(BIN)/python scripts/bake.py build starter=penguins project_slug=$(notdir $(DEMO)) >/dev/null
	@$(MAKE) --no-print-directory -C $(DEMO) setup
	@$(MAKE) --no-print-directory -C $(DEMO) train
	@$(DEMO)/.venv/bin/python scripts/demo.py $(DEMO)

new: .venv/.dev ## Answer the questions and make a project in OUT (the folder beside this one by default)
	@$(BIN)/python scripts/new.py "$(TEMPLATE)" "$(OUT)"

dist: .venv/.uv ## Build wheel and sdist of the machinery into dist/, to publish to your team's package index
	@rm -rf dist && $(UV) build --quiet --no-create-gitignore --out-dir dist library && ls dist

test: test-template test-library ## Run the tests of template and library, but for the slow ones

test-all: .venv/.ansible test-template test-library ## Run all of them, the slow ones too

test-template: .venv/.dev ## Run the template's tests, but for the slow ones: ARGS=tests/test_helm.py
	$(BIN)/python -m pytest $(MARKS) $(ARGS)

test-library: .venv/.dev ## Run the library's tests, but for the slow ones: ARGS=tests/api
	cd library && ../$(BIN)/python -m pytest $(PROCESSES) $(MARKS) $(ARGS)

bench: .venv/.bake ## Measure ours, the limits and the peers side by side, which takes hours; needs wrk
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: .venv/.bake ## Measure ours, naive and the limits, in some minutes; needs wrk
	@$(BIN)/python -m benchmarks --quick $(ARGS)

# An inventory is a folder of ansible/inventories or a path.
MACHINES = $(if $(findstring /,$(INVENTORY)),$(abspath $(INVENTORY)),$(CURDIR)/ansible/inventories/$(INVENTORY))
ON_PATH = PATH="$(CURDIR)/$(BIN):$$PATH"
# As for whoever calls make: playbooks are run in another folder. `abspath` would take a path apart at its blanks.
PASSWORD_FILE = $(if $(filter /%,$(firstword $(VAULT_PASSWORD))),,$(CURDIR)/)$(VAULT_PASSWORD)
PLAY = cd ansible && $(ON_PATH) ansible-playbook -i '$(MACHINES)' --vault-password-file '$(PASSWORD_FILE)'

vault: .venv/.ansible ## Generate the secrets of INVENTORY that are missing, encrypted by ansible-vault
	@$(ON_PATH) $(BIN)/python scripts/vault.py '$(MACHINES)' '$(PASSWORD_FILE)'

vault-edit: vault ## Open the secrets of INVENTORY in your editor
	@$(ON_PATH) ansible-vault edit --vault-password-file '$(PASSWORD_FILE)' '$(MACHINES)/group_vars/all/vault.yml'

hosts: vault ## Install and configure the machines of INVENTORY; see first what would change by ARGS="--check --diff"
	@$(PLAY) site.yml $(ARGS)

hosts-verify: vault ## Assert that the machines of INVENTORY keep what the roles promise
	@$(PLAY) verify.yml $(ARGS)

hosts-upgrade: vault ## Upgrade the machines of INVENTORY one after the other, each verified before the next
	@$(PLAY) upgrade.yml $(ARGS)

hosts-remove: vault ## Take away what was installed, with ARGS="--limit HOST -e confirm=HOST"
	@$(PLAY) remove.yml $(ARGS)

jenkins-secrets: ## Write those secrets of the Jenkins controller that can be made, and name those to bring
	@$(PYTHON) scripts/jenkins_secrets.py

jenkins: ## Build the Jenkins controller and start it; needs Docker and its secrets
	@$(PYTHON) scripts/jenkins_secrets.py --check
	docker compose --project-directory jenkins up --detach --build --wait --wait-timeout 600 $(ARGS)

jobs: .venv/.jenkins ## Render the jobs of projects into build/jenkins: make jobs PROJECT=../penguin-species
	@$(BIN)/python scripts/pipeline_jobs.py render $(PROJECT)

jobs-update: .venv/.jenkins ## Render the jobs of projects and send them to the controller at JENKINS_URL
	@$(BIN)/python scripts/pipeline_jobs.py update $(PROJECT)

lint: .venv/.dev ## Check style, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd library && ../$(BIN)/mypy
	cd library && ../$(BIN)/lint-imports

format: .venv/.dev ## Mend style and formatting where that can be done safely
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean: ## Remove what was built, and what tools left behind; .venv stays
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	cd library && rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find hooks library scripts tests '$(TREE)' -name __pycache__ -prune -exec rm -rf {} +

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

.venv/.ansible: .venv/.uv pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --group ansible
	@touch $@

.venv/.jenkins: .venv/.uv pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --group jenkins
	@touch $@

.venv/.dev: .venv/.bake library/pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --group dev --group library/pyproject.toml:test \
		--requirement library/pyproject.toml --all-extras --editable library
	@touch $@
