# Copyright (c) 2026, Seren
# SPDX-License-Identifier: GPL-3.0-or-later
#
# "make" lists the targets. Everything lives in .venv and .build below the checkout; nothing is installed elsewhere,
# except the environments that ansible-test keeps under ~/.ansible/test.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := $(CURDIR)/.venv
BUILD := $(CURDIR)/.build
BIN := $(VENV)/bin
COLLECTIONS := $(VENV)/collections
READY := $(VENV)/.ready
JOBS ?= 2
# Tests wait for servers much of the time, so one more of them keeps the cores busy.
TEST_JOBS ?= $(shell expr $(JOBS) + 1)
# Another ansible-core than the newest: make venv CORE='~=2.17.0'
CORE ?=
PYTEST_ARGS ?=

export PATH := $(BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
# Nothing that happens to be installed for this user is taken for ours.
export ANSIBLE_HOME := $(BUILD)/ansible
export ANSIBLE_NOCOWS := 1
# git answers in a checkout that belongs to another user, as in many containers.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)
# One gate's lines stay together when several run at once.
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

##@ Start

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv ## Two throw-away servers, a sample under live writes, one migration, the proof (KEEP=1 SCALE=n)
	@KEEP="$(KEEP)" SCALE="$(SCALE)" $(BIN)/python -m tests.support.demo

.PHONY: demo-stop
demo-stop: ## Stop and remove the servers that make demo KEEP=1 has left
	@if test -d $(BUILD)/demo; then $(BIN)/python -m tests.support.demo stop; else echo "There are no servers of a demo."; fi

.PHONY: venv
venv: $(READY) ## Make .venv with everything that runs, tests and checks the collection
	@test -e $(COLLECTIONS)/ansible_collections/seren/migrator/galaxy.yml || $(MAKE) --no-print-directory tree

$(READY): requirements.txt requirements-dev.txt tests/support/host.sh
	@bash tests/support/host.sh $(VENV)
	@echo "Making .venv, once ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check \
		-r requirements.txt -r requirements-dev.txt $(if $(CORE),'ansible-core$(CORE)')
	@$(MAKE) --no-print-directory tree
	@touch $@
	@echo "ready: $$($(BIN)/python --version), ansible-core $$($(BIN)/python -c "import ansible.release as r; print(r.__version__)") in .venv"

.PHONY: tree
tree: # The checkout as an installed collection, through a link
	@mkdir -p $(COLLECTIONS)/ansible_collections/seren
	@ln -sfn ../../../.. $(COLLECTIONS)/ansible_collections/seren/migrator

##@ Test

.PHONY: test
test: molecule pytest ## Unit and integration tests, and the molecule scenario

.PHONY: pytest
pytest: venv
	@echo "== unit and integration"
	@$(BIN)/python -m pytest -n $(TEST_JOBS) tests/unit $(wildcard tests/integration) $(PYTEST_ARGS)

.PHONY: unit
unit: venv ## The pure parts, without a server
	@$(BIN)/python -m pytest -n $(JOBS) tests/unit $(PYTEST_ARGS)

.PHONY: integration
integration: venv ## On real servers, PostgreSQL 15 to 17
	@$(BIN)/python -m pytest -n $(TEST_JOBS) tests/integration $(PYTEST_ARGS)

.PHONY: molecule
molecule: venv ## The playbooks: converge, idempotence, verify
	@echo "== molecule"
	@$(BIN)/molecule test --all --report --no-command-borders

.PHONY: test-slow
test-slow: venv ## The matrix of server versions, and kills at random moments
	@$(BIN)/python -m pytest -n $(TEST_JOBS) -m "slow and not external" tests/unit tests/integration $(PYTEST_ARGS)

.PHONY: test-external
test-external: venv ## Your own servers: TEST_SOURCE_URL and TEST_TARGET_URL; TEST_ALLOW_WRITES=1 for the whole workflow
	@$(BIN)/python -m pytest -s -v -m external tests/external $(PYTEST_ARGS)

##@ Measure

.PHONY: bench-copy
bench-copy: venv ## init against pg_dump, pg_restore, pgcopydb and the floor (BENCH_SIZE_MB=3000 BENCH_RUNS=3 BENCH_JOBS=2 ...)
	@$(BIN)/python -m tests.benchmark near

.PHONY: bench-copy-far
bench-copy-far: venv ## The same with both servers far away: many small tables, one large (BENCH_DELAY_MS=20 ...)
	@$(BIN)/python -m tests.benchmark far

.PHONY: bench-memory
bench-memory: venv ## Peak memory of init: a table of 2 GB, rows of 100 MB
	@$(BIN)/python -m tests.benchmark memory

.PHONY: bench-verify
bench-verify: venv ## verify against digests of whole tables and a bare scan (BENCH_VERIFY_ROWS=10000000 BENCH_RUNS=3 ...)
	@$(BIN)/python -m tests.benchmark verify

.PHONY: bench-clean
bench-clean: venv ## Remove the servers and data that the benchmark keeps between runs
	@$(BIN)/python -m tests.benchmark clean

.PHONY: bench-apply
bench-apply: venv ## How fast the target applies with 1 and with 4 streams (BENCH_ARGS="--repeat 5", see its --help)
	@PYTHONPATH=$(COLLECTIONS) $(BIN)/python -m tests.benchmark.apply_rate $(BENCH_ARGS)

##@ Check

# The slowest first, so that the short ones fill the other core.
GATES := sanity galaxy ansible-lint docs mypy ruff yamllint changelog

.PHONY: check
check: venv ## All quality gates, $$JOBS (2) at a time
	@$(MAKE) --no-print-directory --keep-going $(SYNC) -j$(JOBS) $(GATES)
	@echo "$(words $(GATES)) gates passed: $(GATES)"

.PHONY: lint
lint: venv ## The quick gates only
	@$(MAKE) --no-print-directory --keep-going $(SYNC) -j$(JOBS) ansible-lint mypy ruff yamllint

.PHONY: ruff
ruff: venv ## Python: ruff check and ruff format
	@echo "== ruff"
	@$(BIN)/ruff check --cache-dir $(BUILD)/ruff .
	@$(BIN)/ruff format --check --cache-dir $(BUILD)/ruff .

.PHONY: mypy
mypy: venv ## Types of the engine, strict
	@echo "== mypy"
	@$(BIN)/mypy -p ansible_collections.seren.migrator.plugins.module_utils

.PHONY: yamllint
yamllint: venv ## YAML files
	@echo "== yamllint"
	@$(BIN)/yamllint --strict .

.PHONY: ansible-lint
ansible-lint: venv ## Role, playbooks and metadata, profile production
	@echo "== ansible-lint"
	@$(BIN)/ansible-lint --profile production --strict --offline -q

.PHONY: sanity
sanity: venv ## ansible-test sanity, every test, nothing ignored
	@echo "== ansible-test sanity"
	@bash tests/support/ansible_test.sh sanity --color no --python \
		"$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" $(SANITY_ARGS)

.PHONY: docs
docs: venv ## Documentation of the modules, plugins and the role
	@echo "== antsibull-docs"
	@$(BIN)/antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self --skip-rstcheck .

.PHONY: changelog
changelog: venv ## Changelog fragments
	@echo "== antsibull-changelog"
	@$(BIN)/antsibull-changelog lint

.PHONY: galaxy
galaxy: venv ## The archive that users install: build, contents, galaxy-importer
	@echo "== galaxy"
	@bash tests/support/archive.sh $(BUILD)/galaxy

.PHONY: format
format: venv ## Let ruff format and fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove .venv, .build and what tools left behind
	@test ! -d $(BUILD)/demo || $(MAKE) --no-print-directory demo-stop
	@rm -rf .venv .build .ansible .cache .pytest_cache .mypy_cache .ruff_cache tests/output importer_result.json
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
