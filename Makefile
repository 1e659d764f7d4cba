# `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test tests test-all lint compiled-games format imports page film docs docs-serve bench clean system-packages

VENV := .venv
BIN := $(VENV)/bin

# Debian packages that tests need. They are installed if missing and allowed, see `system-packages`.
SYSTEM_PACKAGES := chromium

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.base  ## install rlgames into .venv, then train an agent on CatchBall live
	$(BIN)/rlgames demo

# Compiled modules are kept, whatever the environment says: many processes start, and would each compile all of torch.
unexport PYTHONDONTWRITEBYTECODE

# One torch thread a worker: pytest already runs one worker a core. Runs write thousands of small files to the disk,
# hence in memory where that is large.
PYTEST = OMP_NUM_THREADS=1 $(MEMORY) $(BIN)/python -m pytest -n 2 --dist worksteal
MEMORY = $(shell df --output=avail /dev/shm 2>/dev/null | awk 'NR > 1 && $$1 > 4e6 { print "TMPDIR=/dev/shm" }')

# Lint, which uses one core, runs beside the installation's end, the compiler and the tests.
test: system-packages  ## everything that decides: lint, types, imports, tests
	@$(MAKE) --no-print-directory --jobs 2 lint tests

tests: $(VENV)/.dev compiled-games
	$(PYTEST) --durations 20

test-all: system-packages lint compiled-games $(VENV)/.cluster  ## also the tests that take long, and trainings to a score
	$(PYTEST) --durations 40 --timeout 3600 -m ""

# pyright's wrapper would otherwise check the network for a newer pyright.
lint: $(VENV)/.dev  ## ruff, pyright and the layers of imports, changing nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

# The games are compiled while the development tools are installed, among them rlgames itself once more: hence PYTHONPATH.
compiled-games: $(VENV)/.rom  ## compile the games once, before several test processes would
	PYTHONPATH=. $(BIN)/python tests/helpers/compile_games.py

format: $(VENV)/.dev  ## let ruff fix what it can, and format
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

imports: $(VENV)/.dev  ## draw the imports into docs/imports.svg (needs Graphviz: apt-get install graphviz)
	$(BIN)/import-linter drawgraph rlgames | dot -Tsvg -o docs/imports.svg

page: $(VENV)/.page  ## build the page that plays games in any browser, in build/page
	$(BIN)/rlgames page build/page

film: $(VENV)/.dev  ## play the games side by side into docs/games.webp, with agents of zoo/ (needs Mario's ROM)
	$(BIN)/python docs/film.py

docs: $(VENV)/.docs  ## build the documentation, in build/docs
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --strict --clean

docs-serve: $(VENV)/.docs  ## show the documentation at localhost:8000; make its pages anew with python docs/generate.py
	$(BIN)/python docs/generate.py
	$(BIN)/zensical serve

bench: $(VENV)/.bench $(VENV)/.cluster  ## measure what docs/ has tables of, on a machine that does nothing else (55 minutes)
	PYTHON=$(BIN)/python bash benchmarks/all.sh $(if $(QUICK),--quick)

clean:  ## remove .venv and everything that was built or cached
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- installation: a stamp in .venv for each set of extras, stale when the project or the pins change ----

# pip installs torch, since an index of torch's builds is set up in pip's configuration where there is one; uv, which
# is faster, installs the rest. Python compiles what is imported, which is a small part of what is installed.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install --no-compile --constraint constraints.txt
UV_INSTALL := $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt

$(BIN)/uv: | $(BIN)/pip
	$(PIP_INSTALL) uv

# What builds comes first and builds run without isolation: isolated, they would take unpinned versions.
# setuptools is for nes-py, which has no wheels.
$(VENV)/.build: pyproject.toml constraints.txt | $(BIN)/uv
	$(UV_INSTALL) hatchling editables setuptools
	@touch $@

# One after the other: an installer fails where another one replaces packages under it.
$(VENV)/.torch: $(VENV)/.build
	$(PIP_INSTALL) --no-deps torch
	@touch $@

$(VENV)/.base: $(VENV)/.torch
	$(UV_INSTALL) --no-build-isolation --editable .
	@touch $@

# Mario's ROM, without the packages that its package asks for.
$(VENV)/.rom: $(VENV)/.base
	$(UV_INSTALL) --no-deps gym-super-mario-bros
	@touch $@

$(VENV)/.dev: $(VENV)/.rom
$(VENV)/.dev $(VENV)/.docs $(VENV)/.bench $(VENV)/.page: $(VENV)/.%: $(VENV)/.base
	$(UV_INSTALL) --no-build-isolation --editable '.[$*]'
	@touch $@

# What the slow tests alone need, and what is large: Optuna and Ray.
$(VENV)/.cluster: $(VENV)/.dev
	$(UV_INSTALL) --no-build-isolation --editable '.[tune,ray]'
	@touch $@

# The first interpreter that runs and is new enough; `make PYTHON=...` selects another.
$(BIN)/pip:
	@for python in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "rlgames needs Python 3.11 or newer and found none$(if $(PYTHON), at PYTHON=$(PYTHON))." >&2; \
	    echo "On Debian or Ubuntu: sudo apt-get update && sudo apt-get install -y python3 python3-venv" >&2; \
	    echo "To select one: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	    version=$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "$$found cannot create virtual environments: its modules venv and ensurepip are missing." >&2; \
	    echo "On Debian or Ubuntu: sudo apt-get update && sudo apt-get install -y python$$version-venv" >&2; \
	    exit 1; \
	fi; \
	echo "$$found -m venv $(VENV)"; \
	"$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# ---- Debian packages ----

system-packages:
	@for package in $(SYSTEM_PACKAGES); do \
	    dpkg-query --show --showformat '$${Status}' "$$package" 2>/dev/null | grep -q ' installed$$' || missing+=" $$package"; \
	done; \
	[ -n "$${missing:-}" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then root=env; else root='sudo -n env'; fi; \
	echo "installing$$missing"; \
	{ $$root true && $$root apt-get update -q && \
	  $$root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; } </dev/null || { \
	    echo "The tests need Debian packages that could not be installed here:$$missing" >&2; \
	    echo "Install them with: sudo apt-get update && sudo apt-get install -y --no-install-recommends$$missing" >&2; \
	    exit 1; \
	}
