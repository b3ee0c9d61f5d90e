# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

NO_PYTHON_GUEST = The Python guest was not built, for the reason above. Its first build fetches packages from PyPI and npm: \
	try again with a network. The tests that do without it: make guest && $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo demo-postgres test dashboard engines test-engines check format guest guest-python guest-compiler wheel-python wheel-compiled bench counts libraries libraries-python cpython test262 rivals campaign kills kills-postgres schedules limits outage simulate fuzz torture docs docs-serve lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml .ci/dev.lock
	$(PYTHON) -c 'import sys; sys.exit("cloche needs Python 3.11 or newer; set PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "setting up .venv, once …"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .ci/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

guest: $(READY) ## build the WebAssembly guest (cached by the content of its sources)
	$(BIN)/python -m cloche_guest

dashboard: $(READY) ## build the dashboard (cached by the content of its sources; the first build fetches packages from npm)
	$(BIN)/python host/dashboard/build.py

guest-python: $(READY) ## build the Python guest too (fetches componentize-py and Binaryen; cached likewise)
	$(BIN)/python -m cloche_guest python || { echo "$(NO_PYTHON_GUEST)" >&2; exit 1; }

guest-compiler: $(READY) ## build the compiler of TypeScript too (fetches two parsers from npm; cached likewise)
	$(BIN)/python -m cloche_guest compiler

wheel-python: guest-python ## the wheel cloche-python, with the built Python guest inside, in dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist guest/python/wheel

wheel-compiled: guest-python ## the wheel cloche-compiled, with both guests as native code for x86-64 Linux, in dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist guest/compiled

demo: guest ## run the orders workflow, kill it half way, finish it, show what the log proves
	$(BIN)/python -m cloche_guest python || echo "The demo goes on without the Python guest: it does not need it." >&2
	$(BIN)/python host/examples/demo/demo.py

demo-postgres: guest ## 1,000 orders by three workers on one PostgreSQL; a worker is killed, then the server
	PYTHONPATH=. $(BIN)/python host/examples/demo/many_machines.py

# Tests kill processes and wait for servers: a machine that stands still for a while is not a fault. One that fails alone too is.
ALONE = $(BIN)/python -m pytest -p no:xdist --last-failed --last-failed-no-failures none --exitfirst -rA
test: guest guest-python guest-compiler dashboard ## all tests, on all cores; what failed beside seven others has to pass alone, and is named
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal || { [ $$? = 1 ] && $(ALONE); }

engines: $(READY) ## fetch the servers of Temporal and Restate, pinned, for the tests and benchmarks of foreign engines
	$(BIN)/python .ci/engines.py

ENGINE_TESTS := $(addprefix tests/host/foreign/test_,examples.py pages.py restate.py temporal.py)
test-engines: engines guest guest-python ## the tests of foreign engines on their own servers, none left out, in one process
	CLOCHE_ENGINES=all $(BIN)/python -m pytest -p no:xdist $(ENGINE_TESTS)

check: $(READY) ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## format and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

SEED ?= 1
SECONDS ?= 300
fuzz: guest ## fuzz both codecs for SECONDS from SEED, and renew tests/fuzz/corpus
	PYTHONPATH=tests $(BIN)/python -m fuzz --seed $(SEED) --seconds $(SECONDS)

GRAPHS ?= 500
campaign: guest ## every law from SEED; GRAPHS random workflows on both engines, in every way and under crashes
	CLOCHE_GRAPHS=$(GRAPHS) $(BIN)/python -m pytest --hypothesis-profile=default --hypothesis-seed=$(SEED) \
		$$(grep -rlE "^from hypothesis import" tests --include='test_*.py')

MOST ?= 1000000
BUDGET ?= 600
torture: guest ## kill -9 200 times, flip and cut off the bytes of a store for BUDGET seconds each way from SEED, fill the disk
	CLOCHE_SEED=$(SEED) CLOCHE_TORTURE_S=$(BUDGET) CLOCHE_KILLS=204 $(BIN)/python -m pytest -s \
		tests/host/store/sqlite/test_torture.py tests/host/store/sqlite/test_damage.py tests/host/store/sqlite/test_wal.py \
		tests/host/store/sqlite/test_disk.py tests/host/store/sqlite/test_crash.py tests/host/worker/test_crash.py tests/host/worker/test_damaged_stores.py

KILLS ?= 300
kills: guest guest-python ## kill three workers KILLS times from SEED, while orders start, hear events, are resumed and canceled
	PYTHONPATH=tests $(BIN)/python -m support.kills $(KILLS) $(SEED)

kills-postgres: guest guest-python ## the same on PostgreSQL, 500 kills: of workers, of the server, of all connections
	CLOCHE_REQUIRE_POSTGRES=1 CLOCHE_KILLS=500 CLOCHE_SEED=$(SEED) $(BIN)/python -m pytest -s tests/host/store/postgres/test_kills.py

RUNS ?= 5000
outage: guest guest-python ## play the outage of docs/operations/outage.md with RUNS orders: ten commands clear all of it
	PYTHONPATH=tests $(BIN)/python -m support.outage $(RUNS)

schedules: guest ## 1,000 instants of schedules on two workers that are killed from SEED, on SQLite and PostgreSQL: 1,000 runs
	CLOCHE_INSTANTS=1000 CLOCHE_SEED=$(SEED) $(BIN)/python -m pytest -s tests/host/worker/test_schedule_kills.py

limits: guest ## 600 runs through limits on three workers that are killed from SEED, on SQLite and PostgreSQL: never more at once
	CLOCHE_LIMITED_RUNS=600 CLOCHE_SEED=$(SEED) $(BIN)/python -m pytest -s tests/host/worker/test_limit_kills.py

N ?= 2000
simulate: guest ## live N scenarios from SEED in the simulator, and catch every planted bug
	PYTHONPATH=tests $(BIN)/python -m simulation --seed $(SEED) --count $(N)

bench: guest ## measure (NAME=… for some, MOST=… for smaller sizes): a table; results and plots in benchmarks/results/
	$(BIN)/cloche bench $(NAME) --most $(MOST) $(if $(NAME),,--keep benchmarks/results)

libraries: guest ## run the programs with npm's libraries under glass and in Node.js, and renew the table in docs/javascript.md
	PYTHONPATH=tests $(BIN)/python -m libraries --keep

libraries-python: guest guest-python ## run the programs with pure-Python libraries baked in and in this Python, and renew the table in docs/python.md
	PYTHONPATH=tests $(BIN)/python -m libraries_python --keep

cpython: guest-python ## CPython's own tests under glass, and renew the table in docs/python.md; CPYTHON_TESTS names their folder
	PYTHONPATH=tests $(BIN)/python -m cpython --keep

SHARE ?= 1.0
test262: guest ## ECMAScript's own tests under glass, a SHARE of them; TEST262 names a checkout of tc39/test262
	PYTHONPATH=tests $(BIN)/python -m test262 $(SHARE)

counts: guest guest-python ## renew benchmarks/counts.json: the fuel and calls that tests compare with
	$(BIN)/python -m benchmarks.keep_counts

rivals: guest ## measure other runtimes beside cloche (INSTALL=1 fetches them into .cache/rivals/)
	$(BIN)/python -m benchmarks.rivals $(NAME) $(if $(INSTALL),--install) --keep

docs: $(READY) ## the documents as a site, with the reference from the docstrings, in .cache/docs/site/
	$(BIN)/python docs/build.py .cache/docs

docs-serve: docs ## the same on http://127.0.0.1:4800, until Ctrl-C
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory .cache/docs/site 4800

lock: $(READY) ## renew the locks in .ci/ (the only target that needs pip-tools)
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-options --no-header --extra dev -o .ci/dev.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-options --no-header -o .ci/engines.lock .ci/engines.in

clean: ## remove the environment, built guests and caches
	rm -rf .venv .cache guest/cloche_guest/built host/cloche/http/dashboard host/dashboard/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
