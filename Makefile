# Everything that people do with this repository, by name. `make` lists it.
# The work is done by tools/ (getting ready, up, down) and agentstack/ (looking at what runs).

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
# The stack: `make up STACK=prod`, or PULUMI_STACK, or dev.
STACK ?= $(if $(PULUMI_STACK),$(PULUMI_STACK),dev)

HOME_DIR := $(if $(AGENTSTACK_HOME),$(AGENTSTACK_HOME),.agentstack)
VENV := .venv/bin
BOOTSTRAP := $(PYTHON) -m tools.bootstrap
# What looks at a stack needs its state, passphrase and engine.
WITH_ENV := set -e; . $(HOME_DIR)/env; PULUMI_STACK=$(STACK); export PULUMI_STACK;

.PHONY: help
help: ## What can be made (this list)
	@echo "usage: make TARGET [STACK=dev|prod]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## Docker, virtual environment, Pulumi, state: whatever is missing
	@$(BOOTSTRAP) engine venv pulumi state

.PHONY: up
up: setup ## Bring the stack to life, send a demo trace, print where everything is
	@$(VENV)/python -m tools.up --stack $(STACK)

.PHONY: down
down: setup ## Take the stack down; data, secrets and CA stay (VOLUMES=1 asks, then leaves nothing; YES=1 does not ask)
	@$(VENV)/python -m tools.down --stack $(STACK) $(if $(filter-out 0,$(VOLUMES)),--volumes) $(if $(filter-out 0,$(YES)),--yes)

.PHONY: preview
preview: setup ## What `make up` would change
	@$(VENV)/python -m tools.preview --stack $(STACK)

.PHONY: status
status: setup ## Is everything healthy? (exit code 1 if not)
	@$(WITH_ENV) $(VENV)/agentstack status

.PHONY: logs
logs: ## Follow a service's log: make logs SERVICE=phoenix
	@test -n "$(SERVICE)" || { echo "which one? make logs SERVICE=phoenix" >&2; exit 2; }
	@docker logs --follow --tail 200 agentstack-$(STACK)-$(SERVICE)

.PHONY: test
test: setup images ## Everything: lint, types, unit, rules, engine, end to end
	@$(PYTHON) -m tools.check all

.PHONY: test-drift
test-drift: setup ## Drift and repair on a real stack (about 20 min; not part of `make test`)
	@$(PYTHON) -m tools.check drift

.PHONY: test-alerts
test-alerts: setup images ## Alerts provoked on a real stack, told by a webhook and taken back (about 15 min; not part of `make test`)
	@$(PYTHON) -m tools.check alerts

.PHONY: test-recovery
test-recovery: setup images ## Backup, restore and damage on a real stack (not part of `make test`)
	@$(PYTHON) -m tools.check recovery

.PHONY: test-fast
test-fast: ## What needs no Docker: lint, types, unit, rules
	@$(BOOTSTRAP) venv
	@$(PYTHON) -m tools.check fast

.PHONY: lint
lint: ## Style and types alone
	@$(BOOTSTRAP) venv
	@$(PYTHON) -m tools.check lint

.PHONY: bench
bench: setup images ## Measure times, memory and throughput on a stack of its own; writes docs/performance.md (8 min)
	@$(VENV)/python -m tools.bench

.PHONY: dashboards
dashboards: ## Write the Grafana dashboards as JSON, for people who import by hand
	@$(BOOTSTRAP) venv
	@$(VENV)/python -m dashboards

.PHONY: images
images: ## Build every image locally from package registries
	@$(BOOTSTRAP) engine venv
	@$(VENV)/python -m images.build

.PHONY: lock
lock: ## Renew requirements.lock from pyproject.toml
	@$(PYTHON) -m tools.lock

.PHONY: clean
clean: ## Remove what can be made again (never state, passphrase or data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.agentstack/*' -prune -exec rm -rf {} +
