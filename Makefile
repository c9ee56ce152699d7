# Everything a developer runs. `make` alone lists the targets; each installs what it needs, and nothing when that is up to date.

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
TOOLS := $(VENV)/deploy
SITE := $(VENV)/site
OPENAPI := $(VENV)/openapi
HELM := helm.sh/helm/v3/cmd/helm@v3.22.0
KUSTOMIZE := sigs.k8s.io/kustomize/kustomize/v5@v5.8.1
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-package cbrgateway-client --no-emit-package cbr-gateway --no-emit-package cbrctl --no-header

# The first Python that is new enough; looked for only when .venv has to be made.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# What the protos must stay compatible with: the last release, before the first one a committed image.
RELEASE = $(shell git describe --tags --abbrev=0 2>/dev/null)

# Where it is set, each of the many processes that tests start would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do printf '%-11s %s\n' "$$name" "$$text"; done

.PHONY: run
run: $(STAMPS)/run ## Start the gateway before an emulated CBR (development only); options in ARGS="--listen 127.0.0.1:6000"
	@exec $(BIN)/cbr-gateway dev $(ARGS)

.PHONY: demo
demo: $(STAMPS)/run ## Tell the whole story against a gateway of its own: vault, backup, restore, share, mistakes
	@$(BIN)/cbr-gateway demo

.PHONY: tools
tools: $(STAMPS)/dev ## Install the development tools, such as buf, pytest and ruff, into .venv/bin

.PHONY: test
test: $(STAMPS)/dev ## Run all tests, six at once: they wait more than they compute
	@$(BIN)/python scripts/tests.py

.PHONY: soak-quota
soak-quota: $(STAMPS)/dev ## Run the tests of limits, repeats and crashes with full numbers; takes half an hour
	@QUOTA_SOAK=1 $(BIN)/python -m pytest --timeout 1800 tests/quota tests/state/test_model.py tests/functional/test_growth.py

.PHONY: soak-watch
soak-watch: $(STAMPS)/dev ## Run the tests of streams with full numbers; takes a quarter of an hour, and prints figures
	@rm -f .cache/soak-watch.txt && mkdir -p .cache
	@WATCH_SOAK=.cache/soak-watch.txt $(BIN)/python -m pytest tests/watch/test_cuts.py tests/watch/test_crowd.py; status=$$?; cat .cache/soak-watch.txt; exit $$status

.PHONY: soak-audit
soak-audit: $(STAMPS)/dev ## Run the tests of the audit log with larger numbers
	@AUDIT_SOAK=10 $(BIN)/python -m pytest --timeout 900 tests/audit

.PHONY: soak-protection
soak-protection: $(STAMPS)/dev ## Run the tests of reports over 3000 servers
	@PROTECTION_SOAK=1 $(BIN)/python -m pytest --timeout 900 tests/protection

.PHONY: soak-events
soak-events: $(STAMPS)/dev ## Kill a gateway fifty times over a thousand tasks, each of which a webhook must hear of
	@EVENTS_SOAK=50 $(BIN)/python -m pytest tests/events/test_kills.py

.PHONY: soak-restart
soak-restart: $(STAMPS)/dev ## Make 10,000 calls with each policy of balancing while gateways are replaced
	@RESTART_SOAK=1 $(BIN)/python -m pytest tests/functional/test_rolling_restart.py

.PHONY: soak-renewal
soak-renewal: $(STAMPS)/dev ## Renew the server's certificate a hundred times under calls
	@RENEWAL_SOAK=1 $(BIN)/python -m pytest --timeout 600 tests/functional/test_renewal.py

.PHONY: soak-reload
soak-reload: $(STAMPS)/dev ## Change the configuration of two workers a thousand times under calls, three hundred times by mistake
	@RELOAD_SOAK=1 $(BIN)/python -m pytest --timeout 3600 tests/functional/test_workers.py -k one_gateway

.PHONY: soak-load
soak-load: $(STAMPS)/dev ## Call more than the gateway can answer, and beside sick projects; prints what became of the calls
	@$(BIN)/python -m benchmarks.overload

.PHONY: check
check: generated lint types protos docker ## All checks but the tests

.PHONY: generated
generated: $(STAMPS)/dev ## Check that the generated code is up to date
	@$(BIN)/python scripts/generate.py --check

.PHONY: lint
lint: $(STAMPS)/dev ## Check style, format and the layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-cache --verbose >$(VENV)/layers.log 2>&1 || { cat $(VENV)/layers.log; exit 1; }

.PHONY: types
types: $(STAMPS)/dev ## Check types
	@$(BIN)/mypy

# buf finds the protos of others where `generated` has laid them out.
.PHONY: protos
protos: generated ## Check the protos: style, and that no client breaks
	@$(BIN)/buf lint
	@if [ -n "$(RELEASE)" ]; then git show "$(RELEASE):generated/cbrgateway.binpb"; else cat protos/baseline.binpb; fi >.cache/baseline.binpb
	@$(BIN)/buf breaking protos --against .cache/baseline.binpb

.PHONY: docker
docker: $(STAMPS)/dev ## Check the Dockerfile
	@$(BIN)/hadolint Dockerfile

.PHONY: manifest-tools
manifest-tools: $(STAMPS)/manifests ## Build helm and kustomize, and install kubernetes-validate

.PHONY: manifests
manifests: $(STAMPS)/manifests ## Write deploy/kustomize/base from the chart, and have helm and kustomize read all manifests; needs Go. CHECK=--check writes nothing
	@$(BIN)/python scripts/manifests.py --bin $(TOOLS)/bin $(CHECK)

.PHONY: collector
collector: $(STAMPS)/collector ## Build an OpenTelemetry collector for the one test that asks for it; needs Go

.PHONY: generate
generate: $(STAMPS)/dev ## Generate the Python code from the protos
	@$(BIN)/python scripts/generate.py

.PHONY: baseline
baseline: generate ## Before the first release: allow what `make protos` calls breaking
	@$(BIN)/buf build protos --exclude-source-info -o protos/baseline.binpb

.PHONY: lock
lock: $(STAMPS)/dev ## Renew the lock files after a change of dependencies; add UPGRADE=--upgrade for newer versions
	@$(COMPILE) $(UPGRADE) --extra fast --extra http --extra console --extra shared --extra otlp --extra otel --group dev -o requirements-dev.lock pyproject.toml devstack/pyproject.toml
	@$(COMPILE) --extra fast --extra http --extra console --extra shared --extra otlp --extra otel -c requirements-dev.lock --no-annotate -o requirements.lock pyproject.toml
	@$(COMPILE) -c requirements-dev.lock --no-annotate -o requirements-devstack.lock devstack/pyproject.toml
	@$(COMPILE) --group build -c requirements-dev.lock --no-annotate -o requirements-build.lock
	@$(COMPILE) --group deploy --no-annotate -o requirements-deploy.lock
	@$(COMPILE) --group openapi --no-annotate -o requirements-openapi.lock
	@$(COMPILE) --group browser -c requirements-dev.lock --no-annotate -o requirements-browser.lock
	@$(COMPILE) --group site --no-annotate -o requirements-site.lock

.PHONY: docs
docs: $(STAMPS)/dev $(STAMPS)/site ## Build the docs site, with the API reference, into dist/docs; to read it with search: python3 -m http.server -d dist/docs
	@$(BIN)/python -m scripts.docs_site .cache/docs
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict

.PHONY: clients
clients: $(STAMPS)/dev ## Generate and build the clients into dist/; some of them: LANGS="go java"
	@$(BIN)/python -m clients.frame build $(LANGS)

.PHONY: test-clients
test-clients: $(STAMPS)/dev ## Test the clients against a gateway and an emulated CBR; some of them: LANGS="go java"
	@$(BIN)/python -m clients.frame test $(LANGS)

.PHONY: release
release: $(STAMPS)/dev $(STAMPS)/deploy ## Build what a release has into dist/release: wheels, SBOM, provenance; the commit has to bear the version's tag, or UNTAGGED=--untagged
	@$(BIN)/python scripts/release.py --sbom $(TOOLS)/bin/cyclonedx-py $(UNTAGGED)

.PHONY: test-sdks
test-sdks: $(STAMPS)/dev ## Test the emulator with the SDKs that others keep: Go, Java, Open Telekom Cloud's
	@$(BIN)/python -m pytest -rs sdks

.PHONY: test-openapi
test-openapi: $(STAMPS)/dev $(STAMPS)/openapi ## Have schemathesis call the HTTP listener by its OpenAPI document; takes two minutes, the same each time; others: OPENAPI_SEED=7
	@$(BIN)/python -m scripts.fuzz_openapi $(OPENAPI)/bin/schemathesis $(OPENAPI_SEED)

.PHONY: browser-tools
browser-tools: $(STAMPS)/browser

.PHONY: test-browser
test-browser: $(STAMPS)/browser ## Test the console in Chromium (package chromium of Debian)
	@$(BIN)/python -m pytest browser

.PHONY: bench
bench: $(STAMPS)/dev ## Measure throughput and latency; one row in under a minute: ONLY=get, list, create, naive, direct, client, envoy, metrics, tracing or streams; against another tree: TREE=
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(TREE),--tree $(TREE))

.PHONY: clean
clean: ## Remove everything that was made: the environment and all caches
	find generated -mindepth 1 -maxdepth 1 -type d ! -name python -exec rm -rf {} +
	rm -rf $(VENV) .cache dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What a target needs is made by a make of its own, one at a time, whoever asks: two that set up one .venv would break it. Who has waited looks anew.
ifndef ALONE
.PHONY: FORCE
$(STAMPS)/%: FORCE
	@python=$(or $(wildcard $(BIN)/python),$(PYTHON)); if [ -z "$$python" ]; then \
		echo 'Python 3.11 or newer is needed and was not found. Install it, or name it: make PYTHON=/path/to/python3' >&2; exit 1; fi; \
	$$python scripts/alone.py $(MAKE) --no-print-directory --silent ALONE=yes $@
else
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

# pip looks for nothing on the network when the very versions are there.
$(STAMPS)/run: requirements.lock requirements-devstack.lock requirements-build.lock pyproject.toml clients/python/pyproject.toml cbrctl/pyproject.toml devstack/pyproject.toml | $(BIN)/python
	@echo 'Installing what the gateway needs into $(VENV): this takes a minute or two, once'
	@$(PIP) --require-hashes -r requirements.lock -r requirements-devstack.lock -r requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation --editable clients/python --editable . --editable cbrctl --editable devstack
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/deploy: requirements-deploy.lock | $(BIN)/python
	@$(BIN)/python -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-deploy.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/openapi: requirements-openapi.lock | $(BIN)/python
	@$(BIN)/python -m venv $(OPENAPI)
	@$(OPENAPI)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-openapi.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/browser: requirements-browser.lock $(STAMPS)/dev
	@$(PIP) --require-hashes -r requirements-browser.lock
	@touch $@

$(STAMPS)/site: requirements-site.lock | $(BIN)/python
	@$(BIN)/python -m venv $(SITE)
	@$(SITE)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-site.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/manifests: Makefile $(STAMPS)/deploy $(STAMPS)/dev
	@echo 'Building helm and kustomize into $(TOOLS): this takes some minutes, once'
	@GOBIN=$(abspath $(TOOLS))/bin go install $(HELM)
	@GOBIN=$(abspath $(TOOLS))/bin go install $(KUSTOMIZE)
	@touch $@

$(STAMPS)/collector: $(wildcard tests/otelcol/*) $(STAMPS)/dev
	@echo 'Building a collector into $(TOOLS): this takes some minutes, once'
	@go -C tests/otelcol build -trimpath -o $(abspath $(TOOLS))/bin/otelcol .
	@touch $@

$(STAMPS)/dev: requirements-dev.lock $(STAMPS)/run
	@echo 'Installing the development tools into $(VENV): this takes a minute or two, once'
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
endif
