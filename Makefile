# Millrace: `make run` and `make test` are all a newcomer needs; `make help` lists the rest.
# Everything built or downloaded lies in .build, everything a running daemon keeps in .data; both can be deleted.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

GO ?= $(or $(shell command -v go),/usr/local/go/bin/go)
BUILD := $(CURDIR)/.build
DATA ?= .data
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(BUILD)/tools/golangci-lint-$(GOLANGCI_VERSION)
FUZZTIME ?= 30s
SOAK_TIME ?= 30m
SOAK_RATE ?= 10000
GROWTH_ROWS ?= 10000000
GROWTH_JOBS ?= 100000
# The race detector multiplies times by five. Left out is what gains nothing: slots are forked C, and the end-to-end tests watch a
# daemon that is built without it.
RACE ?= ./cmd/millrace/... ./cmd/internal/{cli,doctor,example,push}/... ./engine/... ./runtimes/... ./web/... ./sandbox/direct/...

export GOFLAGS := -buildvcs=false
export MILLRACE_GO := $(GO)

# Sandboxes need root to build their walls. As a normal user the daemon and the test binaries go through sudo, while building
# stays the user's; where sudo would need a password and nobody can be asked, they run as the user and say what they lack.
AS_ROOT = $$([ $$(id -u) = 0 ] || ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; } || echo sudo -H -E)
TEST_EXEC = $$([ $$(id -u) = 0 ] || ! sudo -n true 2>/dev/null || echo "sudo -n -H -E")

SOURCES := $(shell find cmd engine runtimes sandbox web -name node_modules -prune -o \( -type d -o -type f ! -name '*_test.go' \) -print) go.mod go.sum
FORKER := $(shell find sandbox/forker -type f ! -name '*.go')
# What runs inside slots lies beside the code that knows it: runtimes/LANGUAGE/lib.
ASSETS := $(shell find runtimes/*/lib -name __pycache__ -prune -o -print)
PYTHON := $(or $(MILLRACE_PYTHON),/usr/bin/python3)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z\/-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: PostgreSQL, gcc, Python, Bun, uv
	@packaging/setup.sh

.PHONY: build
build: $(BUILD)/lib/forker $(BUILD)/lib/assets $(BUILD)/lib/.wrappers $(BUILD)/bin/millrace $(BUILD)/bin/millrace-jail ## build everything into .build
	@:

.PHONY: run
run: build ## start the daemon in the foreground, run the example once, stay up until Ctrl-C
	@mkdir -p $(DATA)
	@exec $(AS_ROOT) $(BUILD)/bin/millrace serve --data $(DATA) --example

.PHONY: test
test: build vet lint test/all test/walls test/postgres test/race test/fuzz test/chaos test/peers ## all checks and all tests
	@echo "make test: everything passed"

# Where there is no browser or no command line of Windmill to be had, the tests with them are skipped and say why.
.PHONY: test/all
test/all: build ## unit and integration tests, as root where possible
	@packaging/setup.sh --browser || [ $$? = 3 ]
	@exec="$(TEST_EXEC)"; if wmill=$$(packaging/setup.sh --wmill); then export MILLRACE_TEST_WMILL="$$wmill"; \
	elif [ $$? = 3 ]; then export MILLRACE_TEST_WMILL_MISSING="no wmill to be had here, see above"; else exit 1; fi; \
	$(GO) test -json -count=1 -timeout 15m $${exec:+-exec "$$exec"} ./... | $(GO) run ./cmd/internal/house/testsum

# test/all runs them as plain processes; this is where their system calls, files and secrets meet the walls.
.PHONY: test/walls
test/walls: build ## the suites of the languages in real slots
	@exec="$(TEST_EXEC)"; MILLRACE_TEST_JAIL=$(BUILD)/bin/millrace-jail $(GO) test -json -count=1 -timeout 10m $${exec:+-exec "$$exec"} \
	  -run '^Test(Bash|Bun|Go|Python)$$' ./runtimes/... | $(GO) run ./cmd/internal/house/testsum -title "languages in slots"

# Where there is no newer server, one test is skipped and says why.
.PHONY: test/postgres
test/postgres: | setup ## the queue and its SQL on a newer PostgreSQL, where one can be had
	@exec="$(TEST_EXEC)"; if bin=$$(packaging/setup.sh --newer-postgres); then \
	  export MILLRACE_TEST_PG_BIN="$$bin" MILLRACE_PG_BINDIR="$$bin" title="$$("$$bin/postgres" --version)" run=.; \
	elif [ $$? = 3 ]; then \
	  export MILLRACE_TEST_PG_MISSING="no newer PostgreSQL to be had here, see above" title="newer PostgreSQL" run='^TestServerVersion$$'; \
	else exit 1; fi; \
	$(GO) test -json -count=1 -timeout 10m $${exec:+-exec "$$exec"} -run "$$run" ./engine/store/... ./engine/queue/... | \
	  $(GO) run ./cmd/internal/house/testsum -title "$$title"

# An emulated processor is slow, so this is not a part of make test. Where the machine cannot be had, one test is skipped and says why.
.PHONY: test/cgroup2
test/cgroup2: | setup ## control groups and slots on version 2 of control groups, in an emulated machine
	@if vm="$$(packaging/setup.sh --vm)"; then export MILLRACE_TEST_VM="$$vm"; \
	elif [ $$? = 3 ]; then export MILLRACE_TEST_VM_MISSING="no emulated machine to be had here, see above"; else exit 1; fi; \
	$(GO) test -json -count=1 -timeout 40m ./sandbox/cgroup/vmtest | $(GO) run ./cmd/internal/house/testsum -title "cgroup version 2"

.PHONY: test/race
test/race: | setup ## the unprivileged packages under the race detector
	@CGO_ENABLED=1 $(GO) test -json -race -short -count=1 -timeout 15m $(RACE) | $(GO) run ./cmd/internal/house/testsum -title "race detector"

.PHONY: test/fuzz
test/fuzz: ## every fuzz target for a few seconds
	@$(MAKE) --no-print-directory fuzz FUZZTIME=4s

# A worker that is busy when the time is up makes go test say "context deadline exceeded", which is no finding.
.PHONY: fuzz
fuzz: | setup ## every fuzz target for FUZZTIME (30s) each
	@grep -rlE --include='*_test.go' '^func Fuzz' cmd engine runtimes sandbox web | while read -r file; do \
	  for target in $$(grep -oE '^func Fuzz[A-Za-z0-9_]*' "$$file" | cut -c6-); do \
	    echo "fuzz $$(dirname "$$file") $$target $(FUZZTIME)"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" >$(BUILD)/fuzz.log 2>&1 || \
	      { grep -q '^    context deadline exceeded$$' $(BUILD)/fuzz.log && ! grep -q 'Failing input' $(BUILD)/fuzz.log; } || \
	      { cat $(BUILD)/fuzz.log; exit 1; }; \
	  done; \
	done

.PHONY: vet
vet: | setup ## go vet
	@$(GO) vet ./...

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint, and shell scripts parse
	@$(GOLANGCI) run ./...
	@for script in packaging/*.sh .ci/run sandbox/forker/*.sh; do bash -n "$$script"; done

.PHONY: verify
verify: ## the rules of the house: imports, homes of dependencies, file sizes, formatting
	@$(GO) test -count=1 ./cmd/internal/house/
	@test -z "$$(gofmt -l cmd engine runtimes sandbox web bench)" || { echo "run make fmt:"; gofmt -l cmd engine runtimes sandbox web bench; exit 1; }

.PHONY: bench
bench: build $(BUILD)/bin/bench ## measure; writes bench/results/latest.json and prints it beside the targets
	@exec $(AS_ROOT) $(BUILD)/bin/bench $(BENCH)

# PEERS holds flags: make bench-peers PEERS="--peers celery,river --works W1,W2 --merge". QUICK=1 is the short form.
.PHONY: bench-peers
bench-peers: build $(BUILD)/bin/peers ## install real systems and measure them beside Millrace (45 minutes; QUICK=1: ten; the first time ten more)
	@exec $(AS_ROOT) env "PATH=$(dir $(GO)):$$PATH" $(BUILD)/bin/peers run $(if $(QUICK),--quick --out bench/results/peers-quick.json) $(PEERS)

.PHONY: bench-peers/install
bench-peers/install: build $(BUILD)/bin/peers ## install those systems only
	@exec $(AS_ROOT) env "PATH=$(dir $(GO)):$$PATH" $(BUILD)/bin/peers install $(PEERS)

# The README has the table of the whole comparison, or of the quick one where there is no other.
README_PEERS = $(firstword $(wildcard bench/results/peers.json bench/results/peers-quick.json))
.PHONY: bench-report
bench-report: $(BUILD)/bin/peers ## draw bench/results/peers*.html, the tables and the one of README.md from what bench-peers measured
	@for f in bench/results/peers*.json; do \
	  readme=; [ "$$f" != "$(README_PEERS)" ] || readme="--readme README.md"; \
	  $(BUILD)/bin/peers report --in $$f --out $${f%.json}.html $$readme; \
	done

# Two real peers that are quickly installed, so that the contract is not only tested against a fake; of the others what can be seen without
# installing them.
.PHONY: test/peers
test/peers: $(BUILD)/bin/peers ## the adapters: vet, and every work of River and DBOS on PostgreSQL servers of their own
	@for dir in $(dir $(wildcard bench/peers/*/go.mod)); do (cd $$dir && $(GO) vet ./...); done
	@for script in bench/peers/*/install.sh bench/peers/*/*/*.sh; do bash -n "$$script"; done
	@$(PYTHON) -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' bench/peers/*/*.py
	@exec $(AS_ROOT) env "PATH=$(dir $(GO)):$$PATH" $(BUILD)/bin/peers run --smoke --peers river-tuned,dbos-go --out $(BUILD)/peers-smoke.json

.PHONY: soak
soak: $(BUILD)/bin/bench ## SOAK_RATE (10000) jobs a second for SOAK_TIME (30m); fails when memory or tables grow
	@exec $(BUILD)/bin/bench soak --time $(SOAK_TIME) --rate $(SOAK_RATE)

.PHONY: growth
growth: $(BUILD)/bin/bench ## what a job costs as history grows to GROWTH_ROWS (10 million); draws bench/results/growth.svg
	@exec $(BUILD)/bin/bench growth --rows $(GROWTH_ROWS)

.PHONY: growth/jobs
growth/jobs: build ## GROWTH_JOBS (100000) jobs, bad ones too; fails when slots, descriptors, groups, mounts or memory grow (10 minutes)
	@exec="$(TEST_EXEC)"; MILLRACE_GROWTH_JOBS=$(GROWTH_JOBS) $(GO) test -count=1 -v -timeout 60m $${exec:+-exec "$$exec"} -run '^TestNothingGrows$$' ./cmd/internal/e2e/

# CHAOS holds flags: make chaos CHAOS="--faults reset,stop --seed 7".
.PHONY: chaos
chaos: build $(BUILD)/bin/chaos ## inflict 200 kills and other faults, and check that no promise is broken (8 minutes)
	@exec $(AS_ROOT) $(BUILD)/bin/chaos --out bench/results/chaos.json $(CHAOS)

.PHONY: test/chaos
test/chaos: build $(BUILD)/bin/chaos ## the same with 20 kills
	@exec="$(TEST_EXEC)"; exec $$exec $(BUILD)/bin/chaos --kills 20 $(CHAOS)

.PHONY: fmt
fmt: ## gofmt
	@gofmt -w cmd engine runtimes sandbox web bench

.PHONY: clean
clean: ## remove what was built (not .data)
	rm -rf $$(readlink -f $(BUILD)) $(BUILD)

# The version changes the binary only when it changes.
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
.PHONY: FORCE
$(BUILD)/version: FORCE
	@mkdir -p $(@D); [ "$$(cat $@ 2>/dev/null)" = "$(VERSION)" ] || echo "$(VERSION)" >$@

LDFLAGS := -s -w -X github.com/millrace/millrace/cmd/internal/cli.Version=$(VERSION)

$(BUILD)/bin/millrace: $(SOURCES) $(BUILD)/version | setup
	@echo "build millrace $(VERSION)"
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/millrace && touch $@

$(BUILD)/bin/millrace-jail: $(SOURCES) | setup
	@echo "build millrace-jail"
	@CGO_ENABLED=1 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/millrace-jail && touch $@

$(BUILD)/bin/bench: $(SOURCES) $(shell find bench -name '*.go' ! -name '*_test.go') | setup
	@CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./bench && touch $@

$(BUILD)/bin/peers: $(shell find bench/peers -maxdepth 1 -name '*.go' ! -name '*_test.go') bench/peers/page.html go.mod | setup
	@CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./bench/peers && touch $@

$(BUILD)/bin/chaos: $(SOURCES) | setup
	@CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/internal/chaos && touch $@

$(BUILD)/lib/forker: $(FORKER) | setup
	@echo "build forker"
	@bash sandbox/forker/build.sh $(BUILD)/lib $(PYTHON) && touch $@

# What the languages run inside their slots: runtimes/<language>/lib lies in lib as it is.
$(BUILD)/lib/.wrappers: $(shell find runtimes/*/lib -type f) | setup
	@mkdir -p $(@D) && for dir in runtimes/*/lib; do cp -r "$$dir/." $(@D)/; done && touch $@

$(BUILD)/lib/assets: $(ASSETS)
	@for lib in runtimes/*/lib; do cp -R "$$lib/." $(BUILD)/lib/; done; find runtimes/*/lib -type f ! -path '*/__pycache__/*' | sort >$@

$(GOLANGCI): | setup
	@echo "install golangci-lint $(GOLANGCI_VERSION) (once, a few minutes)"
	@GOBIN=$(BUILD)/tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(BUILD)/tools/golangci-lint $@
