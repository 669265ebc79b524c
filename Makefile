# Everything a person does with this repository; `make` alone explains. Only python3, make and a shell must be there.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# An environment in which the built wheel stands in for the tree: what the tests see is what is distributed.
WHEEL := $(VENV)-wheel
# A wheel for the project itself is built by what the lock pins, so nothing is fetched for it.
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Make .venv with all that is pinned in requirements/dev.txt (PYTHON=python3.12 for another Python)

.PHONY: servers
servers: ## Install the Debian packages of the servers that the demo and the tests start (as root)
	@stack/install

.PHONY: browser
browser:
	@WITH_BROWSER=1 stack/install

.PHONY: demo
demo: servers setup ## See it work: send letters through every rule (ARGS="--keep DIRECTORY": and read what the worker says)
	@$(BIN)/python -m demo $(ARGS)

.PHONY: dev
dev: servers setup ## Start the same and leave it running, to send events of your own; Ctrl-C ends it
	@$(BIN)/python -m demo --dev

.PHONY: run
run: setup ## Run a worker with the settings in the environment (SENDAS_…, see docs/settings.md)
	@exec $(BIN)/sendas run

.PHONY: test
test: $(if $(NO_BROWSER),servers,browser) $(WHEEL)/.ready ## Run all tests, of the built wheel against real servers that they start (ARGS="-k word" for some)
	@PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m pytest --import-mode=append --numprocesses auto --dist loadfile --durations 10 \
		$(ARGS)

# It takes all else from $(VENV), and the tests from here; the order of the lines says who is asked first.
$(WHEEL)/.ready: $(READY) README.md LICENSE $(shell find worker -name __pycache__ -prune -o -print)
	@echo 'building the wheel for the tests' >&2
	@rm -rf $(WHEEL) build/wheel && mkdir -p build/wheel && $(BIN)/python -m venv --without-pip $(WHEEL)
	@$(BIN)/python -m hatchling build --target wheel --directory build/wheel > build/wheel/log 2>&1 || \
		{ cat build/wheel/log >&2; exit 1; }
	@$(BIN)/python -m pip --disable-pip-version-check --quiet --python $(WHEEL)/bin/python install --no-deps --no-index build/wheel/*.whl
	@for program in $(BIN)/*; do [ -e $(WHEEL)/bin/$${program##*/} ] || ln -s $(CURDIR)/$$program $(WHEEL)/bin/; done
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > build/wheel/others.pth
	@echo '$(CURDIR)' >> build/wheel/others.pth
	@mv build/wheel/others.pth "$$($(WHEEL)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/"
	@PYTHONSAFEPATH=1 $(WHEEL)/bin/python -c 'import sys, worker; sys.exit(not worker.__file__.startswith(sys.prefix))'
	@touch $@

.PHONY: debian-test
debian-test: ## Run demo, check and the servers' tests in bare Debian 12 and 13, as root (ARGS="--releases 13 --parts test,chaos")
	@$(PYTHON) tools/debian.py $(ARGS)

.PHONY: chaos
chaos: servers setup ## Prove the guarantees under faults, in about five minutes (ARGS="--seed 7", ARGS=--short)
	@$(BIN)/python -m chaos $(ARGS)

.PHONY: bench
bench: servers setup ## Compare with what one would use instead, in about ten minutes (BENCH=quick: two; ARGS="--only relay")
	@$(BIN)/python -m bench $(if $(filter quick,$(BENCH)),--quick) $(ARGS)

.PHONY: image-test
image-test: servers setup ## Build the image without an engine, and see it work (as root)
	@deploy/image/install
	@$(BIN)/python -m deploy.image

.PHONY: picture
picture: browser setup ## Draw the pictures in docs/images: the console, and six minutes of real work (as root)
	@$(BIN)/python -m tests.console.picture
	@$(BIN)/python -m tests.observability.picture

FUZZ := $(VENV)-fuzz

.PHONY: fuzz
fuzz: setup ## Search for input that breaks a promise, for about two minutes (ARGS="--seconds 600 --target imap")
	@[ -x $(FUZZ)/bin/python ] || $(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/fuzz.txt
	@$(FUZZ)/bin/python -m fuzz $(ARGS)

.PHONY: licences
licences: setup ## List the licences of what worker and console are run with, and fail on one that GPL-3.0 is not compatible with
	@$(BIN)/python -m deploy.licences

RELEASE := $(VENV)-release

.PHONY: sbom
sbom: setup ## Write down what a worker consists of, as CycloneDX: dist/sendas.cdx.json
	@rm -rf $(RELEASE) && mkdir -p dist && $(PYTHON) -m venv $(RELEASE) && $(PYTHON) -m venv --without-pip $(RELEASE)/run
	@$(RELEASE)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/release.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet --python $(RELEASE)/run/bin/python install \
		--require-hashes --requirement requirements/run.txt
	@$(RELEASE)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
		--gather-license-texts --output-file dist/sendas.cdx.json $(RELEASE)/run/bin/python
	@$(BIN)/python -m deploy.sbom dist/sendas.cdx.json

CHECKS := check-format check-lint check-types check-imports check-schemas check-asyncapi check-observability check-pages \
	check-readme check-deploy check-security

.PHONY: check $(CHECKS)
check: setup ## Check format, lint, types, import rules, and that generated files are up to date
	@$(MAKE) --no-print-directory --jobs --output-sync=target --keep-going $(CHECKS)

check-format:
	@$(BIN)/ruff format --check --quiet . || { echo 'to format: make format' >&2; exit 1; }

check-lint:
	@$(BIN)/ruff check --quiet .

check-types:
	@$(BIN)/mypy --no-error-summary

check-imports:
	@$(BIN)/lint-imports > $(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; exit 1; }

check-schemas:
	@$(BIN)/python -m worker.operations.contract.schemas --check

check-asyncapi:
	@$(BIN)/python -m tools.asyncapi.check

check-observability:
	@$(BIN)/python -m deploy.observability --check

check-pages:
	@$(BIN)/python -m tools.docgen.settings --check
	@$(BIN)/python -m tools.docgen.metrics --check

check-readme:
	@$(BIN)/python -m tools.readme_languages

# Every overlay is rendered and held against strict schemas, and the Dockerfile is linted: no cluster, no engine.
check-deploy:
	@$(BIN)/python -m pytest -q --no-header -p no:cacheprovider tests/deploy > $(VENV)/check-deploy.txt || \
		{ cat $(VENV)/check-deploy.txt; exit 1; }

CHECKOV := $(VENV)-checkov

# checkov reports unsafe habits in image and manifests, offline; deploy/checkov.yaml has the exceptions.
check-security: $(CHECKOV)/.ready
	@$(BIN)/python -m deploy.security $(CHECKOV)/bin/checkov

$(CHECKOV)/.ready: requirements/checkov.txt | $(READY)
	@echo 'installing requirements/checkov.txt into $(CHECKOV)' >&2
	@$(PYTHON) -m venv --clear $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/checkov.txt
	@touch $@

.PHONY: format
format: setup ## Format the code, and fix what the linter can fix
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

.PHONY: schemas
schemas: setup ## Write schemas/ and the other generated files anew
	@$(BIN)/python -m worker.operations.contract.schemas
	@$(BIN)/python -m tools.docgen.settings
	@$(BIN)/python -m tools.docgen.metrics
	@$(BIN)/python -m deploy.topology_resources
	@$(BIN)/python -m deploy.observability
	@$(BIN)/python -m deploy.observability_resources

.PHONY: lock
lock: setup ## Pin what pyproject.toml asks for into requirements/ (UPGRADE=1 for the latest versions)
	@[ -x $(BIN)/uv ] || $(INSTALL) uv
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) pyproject.toml --extra fast --extra tracing -o requirements/run.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) pyproject.toml --extra fast --extra tracing --extra console -o requirements/console.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) pyproject.toml --extra fast --extra tracing --extra console --group dev -o requirements/dev.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) pyproject.toml --extra fast --extra tracing --extra console --group dev --group fuzz -o requirements/fuzz.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) --group build -o requirements/build.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) --group release -o requirements/release.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) --group bench -o requirements/bench.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) --group checkov -o requirements/checkov.txt

.PHONY: clean
clean: ## Remove .venv and every cache
	@rm -rf $(VENV) $(VENV)-* .dev .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@rm -rf tests/console/node_modules tests/integration/oidc_provider/node_modules tools/asyncapi/node_modules bench/peers/node/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `pip check` is not asked: the lock was resolved for all platforms at once.
$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "sendas needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1) (PYTHON=… names another)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || stack/install
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo 'making $(VENV)' >&2; $(PYTHON) -m venv --clear $(VENV); }
	@echo 'installing requirements/dev.txt into $(VENV)' >&2
	@$(INSTALL) --require-hashes --requirement requirements/dev.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
