# make up      the whole pool on this host (ARGS="--port 9000 --workers 2")
# make test    every check, as CI runs them
# make chaos   faults on a pool of agents (SEED=1 SECONDS=600); needs root
# make faults  only those that inject faults into whole pools; needs root

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PROGRAMS := gcc ffmpeg redis-server chromium ip nft

.PHONY: up test chaos faults lint programs
.DELETE_ON_ERROR:

up: .venv/.server
	@exec $(BIN)/python -m app up $(ARGS)

test: programs lint
	$(BIN)/python -m pytest -n 4 -m "not alone" $(ARGS)
	$(BIN)/python -m pytest -n 0 -m alone

chaos: programs .venv/.dev
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

faults: programs .venv/.dev
	$(BIN)/python -m pytest -n 2 $(ARGS) tests/chaos tests/system/test_faults_*.py

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 agent app/pool
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/pylint app agent tests

# What the tests run beside Python: by apt when we may, else named.
programs:
	@missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] || { \
		packages=$$(echo $$missing | sed 's/\bip\b/iproute2/; s/\bnft\b/nftables/'); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages; \
		else echo "missing for the tests: $$packages; install them"; exit 1; fi; }

.venv/.dev: requirements-dev.txt .venv/.server
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv/.server: requirements.txt agent/requirements.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed (python3)"; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@
