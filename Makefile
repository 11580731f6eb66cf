# RAINBO: one target per action. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PORT ?= 8000
CMD ?= help
SEED ?=
ROWS ?= 1000000
BASE ?=
FAULTS ?=
FROM ?=
ARGS ?=

PY := .venv/bin/python
CACHE := $(CURDIR)/.cache
export PIP_ROOT_USER_ACTION := ignore
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_CACHE_DIR := $(CACHE)/pip
export UV_CACHE_DIR := $(CACHE)/uv
export PYTHONUNBUFFERED := 1
# Otherwise each of the many processes of a demo or a test compiles our modules again.
unexport PYTHONDONTWRITEBYTECODE
# Unchanged: make and the shell would interpret its quotes and dollar signs.
export DEMO_COMMAND := $(value CMD)
# Otherwise make would expand its $(shell …) to export it.
unexport CMD
export PYTEST_DEBUG_TEMPROOT := $(CACHE)

# Production-like values for the checks: no real secret, and a database port where nothing listens.
LINT_ENV := env RAINBO_SECRET_KEY=$(shell printf 'lint-%.0s0123456789' 1 2 3 4 5) \
	RAINBO_CREDENTIAL_KEYS=bGludC1saW50LWxpbnQtbGludC1saW50LWxpbnQtMDA= \
	RAINBO_ALLOWED_HOSTS=rainbo.example RAINBO_HTTPS=on RAINBO_DEBUG=off \
	RAINBO_DB_HOST=127.0.0.1 RAINBO_DB_PORT=1 RAINBO_DB_PASSWORD=lint

.PHONY: help venv demo demo-break demo-code test soak bench bench-api bench-bloat bench-models bench-connections bench-pages bench-commands bench-memory bench-history matrix machine release-check screenshots docs lint format lock manage clean

help:  ## List these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' \
		| while IFS=$$'\t' read -r word text; do printf '  make %-12s %s\n' "$$word" "$$text"; done

demo: venv  ## Run a real PostgreSQL fleet with RAINBO on this machine (PORT=8000, SEED=big)
	@exec $(PY) -m localfleet demo --port $(PORT) --seed=$(SEED)

demo-break: venv  ## Break the running demo, or repair it (WHAT=instance, workers, repair, rows, github-token, github-token-repair)
	@exec $(PY) -m localfleet break --seed=$(SEED) $(WHAT)

demo-code: venv  ## Print the present code of the demo's user support
	@exec $(PY) -m localfleet code --seed=$(SEED)

# On two cores, too: half of the time a test waits for a server, a browser or a clock.
test: venv  ## Run the tests on real PostgreSQL servers (ARGS="-k name")
	@mkdir -p $(CACHE); exec $(PY) -m pytest -n 4 --dist loadfile $(ARGS)

soak: venv  ## Run the long tests: random faults, pages at full size (FAULTS=500, ARGS="-k name")
	@mkdir -p $(CACHE); FAULTS='$(FAULTS)' exec $(PY) -m pytest -m soak -s -o timeout=600 $(ARGS)

# Ten million routes are compared with one million; other tools and the fleet are measured once.
bench: venv  ## Compare the syncs with a plain copy and other tools, or with BASE=commit (ROWS=1000000)
	@exec $(PY) -m bench $(if $(BASE),compare '$(BASE)',run) --rows $(ROWS) \
		$(if $(filter 1000000,$(ROWS)),$(if $(BASE),,--peers) --fleet) $(ARGS)
	@$(MAKE) docs

bench-api: venv  ## Compare the API at full size with the admin's own JSON view
	@exec $(PY) -m bench api $(ARGS)

bench-models: venv  ## Measure a model catalogue in which nothing changed
	@exec $(PY) -m bench models $(ARGS)

bench-connections: venv  ## Measure 2,000 connections of a service that are due at once
	@exec $(PY) -m bench connections $(ARGS)

bench-pages: venv  ## Let 50 people read the console at full size (BASE=commit, in turns)
	@exec $(PY) -m bench pages $(if $(BASE),--base '$(BASE)') $(ARGS)

bench-commands: venv  ## Measure how fast management commands answer (BASE=commit, in turns)
	@exec $(PY) -m bench commands '$(BASE)' $(ARGS)

bench-bloat: venv  ## Measure how the table of routes grows over 1,000 syncs
	@exec $(PY) -m bench bloat $(ARGS)
	@$(MAKE) docs

bench-memory: venv  ## Watch the workers' memory for an hour in which all syncs run every minute
	@exec $(PY) -m bench memory $(ARGS)
	@$(MAKE) docs

bench-history: venv  ## Measure the database's size after 90 days of 200 instances
	@exec $(PY) -m bench history $(ARGS)

matrix: venv  ## Try PostgreSQL 14 to 18 for the own database and the master, and write the table
	@mkdir -p $(CACHE); exec $(PY) -m tests.matrix

machine: venv  ## Follow docs/production.md and its neighbours on a Debian machine of their own (as root)
	@mkdir -p $(CACHE); exec $(PY) -m pytest -m machine -o timeout=1800 tests/deploy $(ARGS)

release-check: venv  ## Try a release in a fresh clone, and the upgrade from FROM (default: the last tag)
	@mkdir -p $(CACHE); exec $(PY) -m tests.release $(if $(FROM),--from '$(FROM)') $(ARGS)

screenshots: venv  ## Retake the screenshots in docs/img/
	@mkdir -p $(CACHE); exec $(PY) -m pytest -m screenshots tests/console

docs: venv  ## Write the tables of docs/ that the code and the benchmarks know
	@$(LINT_ENV) $(PY) -m rainbo.generated_docs

lint: venv  ## Check style, types, migrations and the production settings
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(LINT_ENV) $(PY) -m mypy
	$(LINT_ENV) $(PY) -W 'ignore:Got an error checking:RuntimeWarning' \
		manage.py makemigrations --check --dry-run
	$(LINT_ENV) $(PY) manage.py check --deploy --fail-level WARNING
	@git ls-files '*.py' | grep -vE '^tests/|/migrations/|/commands/' | xargs wc -l | awk \
		'$$2 != "total" && $$1 > 400 { print "note: " $$2 " has " $$1 " lines; 400 is our measure" }'
	@git ls-files '*.py' | grep -vE '^tests/|/migrations/|/commands/' | xargs -n 1 dirname | sort | \
		uniq -c | awk '$$1 > 20 { print "note: " $$2 "/ has " $$1 " files; 20 is our measure" }'

format: venv  ## Sort imports and format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: venv  ## Compile requirements*.txt from pyproject.toml (ARGS=--upgrade)
	@compile="$(PY) -m uv pip compile --quiet --no-config --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-header --no-emit-index-url $(ARGS) pyproject.toml"; \
	$$compile -o requirements.txt; \
	$$compile -c requirements.txt --extra alerts --extra sentry --extra demo --extra dev -o requirements-dev.txt

manage: venv  ## Run a management command against the running demo (CMD="find_user a@b.c")
	@exec $(PY) -m localfleet manage --seed=$(SEED) --line-from DEMO_COMMAND

clean:  ## Remove the virtualenv, the caches and the demo's data
	@for lock in .local/demo*/lock; do \
		if [ -e "$$lock" ] && command -v flock >/dev/null && ! flock --nonblock "$$lock" true; then \
			echo "The demo runs: stop it with Ctrl-C first." >&2; exit 1; fi; done
	@own=/var/tmp/rainbo-$$(printf %s "$$(pwd -P)" | sha256sum | cut -c1-12); \
	if [ -L .local ] && [ "$$(readlink .local)" = "$$own" ]; then rm -rf -- "$$own"; fi
	@rm -rf -- .venv .local .cache .coverage htmlcov staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Rebuilt whenever requirements-dev.txt or the interpreter changes; the copied file marks a
# complete installation.
venv:
	@ready() { cmp -s requirements-dev.txt .venv/requirements-dev.txt && $(PY) -c '' 2>/dev/null; }; \
	refuse() { echo "$$@" >&2; exit 1; }; \
	another="install one, or name it: make PYTHON=/path/to/python3.11"; \
	if ready; then exit 0; fi; \
	found=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || \
		refuse "RAINBO needs Python 3.11 or newer, and '$(PYTHON)' does not run: $$another."; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		refuse "RAINBO needs Python 3.11 or newer, and '$(PYTHON)' is $$found: $$another."; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		refuse "'$(PYTHON)' cannot make virtual environments: install its venv package" \
			"(Debian and Ubuntu: apt install python3-venv)."; \
	mkdir -p .cache; exec 9>.cache/venv.lock; \
	if command -v flock >/dev/null; then flock 9; fi; \
	if ready; then exit 0; fi; \
	echo "Building .venv (once, about a minute)" >&2; \
	rm -rf .venv; \
	$(PYTHON) -m venv .venv || refuse "'$(PYTHON) -m venv' could not make .venv."; \
	$(PY) -m pip install --quiet --require-hashes -r requirements-dev.txt; \
	cp requirements-dev.txt .venv/requirements-dev.txt
