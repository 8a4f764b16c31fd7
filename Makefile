# The front door. `make` alone tells what there is; ARGS="…" passes words on to pytest.

PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

bin := .venv/bin
uv := $(firstword $(wildcard .tools/uv/bin/uv) uv)
sources := libs services cli tests tools bench
present := $(wildcard $(sources))

.PHONY: help setup run demo test check fmt lock bench-ingress bench-webhooks bench-isolation bench-claim bench-drips bench-mail up down verify-compose clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make the Python environment in .venv
	@$(PYTHON) tools/setup.py

run: ## start PostgreSQL, RabbitMQ and all services, with a demo brand; Ctrl-C stops them
	@$(PYTHON) tools/setup.py --servers
	@exec $(bin)/mailement dev

demo: ## the whole way once: sign up, webhook, welcome mail, unsubscribe
	@$(PYTHON) tools/setup.py --servers
	@exec $(bin)/mailement demo

test: ## all tests, against real servers
	@$(PYTHON) tools/setup.py --servers
	@exec $(bin)/pytest -n 2 --dist worksteal $(ARGS)

check: ## format, lint, import floors, SQL, types
	@$(PYTHON) tools/setup.py
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/lint-imports
	git ls-files -z --cached --others --exclude-standard '*.sql' | xargs -0 $(bin)/sqlfluff lint
	$(bin)/mypy $(present)

fmt: ## format, and mend what the linter can mend
	@$(PYTHON) tools/setup.py
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

lock: ## resolve the dependencies anew and write both lock files
	@$(PYTHON) tools/setup.py
	$(uv) lock --upgrade
	$(uv) export --quiet --all-packages --no-emit-workspace --no-annotate --no-header --no-dev -o requirements.lock
	$(uv) export --quiet --all-packages --no-emit-workspace --no-annotate --no-header --all-groups -o requirements-dev.lock

bench-ingress: ## sign-ups per second beside pgbench doing the same SQL
	@$(PYTHON) tools/setup.py --servers --bench
	@exec $(bin)/python bench/ingress/run.py $(ARGS)

bench-webhooks: ## deliveries per second with the full ledger, beside the same POSTs by wrk and by a bare loop
	@$(PYTHON) tools/setup.py --servers --bench
	@exec $(bin)/python -m bench.webhooks.drain $(ARGS)

bench-isolation: ## what healthy endpoints notice of one that never answers
	@$(PYTHON) tools/setup.py --servers --bench
	@exec $(bin)/python -m bench.webhooks.isolation $(ARGS)

bench-claim: ## a claim's time with a million deliveries waiting for ten thousand endpoints
	@$(PYTHON) tools/setup.py --servers --bench
	@exec $(bin)/python -m bench.webhooks.claim $(ARGS)

bench-drips: ## due steps per second, and their cost as the number of runs grows; ARGS=--ten-million for the largest
	@$(PYTHON) tools/setup.py --servers
	@exec $(bin)/python -m bench.drips.run $(ARGS)

bench-mail: ## mails per second with the full ledger, beside the same bytes by a bare loop; and what another brand notices
	@$(PYTHON) tools/setup.py --servers
	@exec $(bin)/python -m bench.mail.run $(ARGS)

up: ## build the images and start everything by docker compose
	@$(PYTHON) tools/compose_secrets.py
	docker compose build
	@# First and apart: if it fails, the services of the previous release go on as they were.
	docker compose run --rm migrate
	docker compose up --detach --wait
	@echo "the api is at http://$$(docker compose port api 8080); docs/deploy.md says what comes next"

down: ## stop what `make up` started; the data stay
	docker compose down

verify-compose: ## run the demo's way against the composed services
	@$(PYTHON) tools/verify_compose.py

clean: ## remove the environment, the tools, and the private servers with their data
	@$(PYTHON) tools/clean.py
