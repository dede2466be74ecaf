# make build | test | demo | bench | fuzz | soak        see CONTRIBUTING.md

GO        ?= go
BIN       := bin/tahoe
export CGO_ENABLED ?= 0
# The same for everything, so that one compilation serves build, vet and the programs that tests run.
export GOFLAGS := $(GOFLAGS) -trimpath
TEST_TIMEOUT ?= 9m
FUZZTIME  ?= 3s
PLATFORMS := linux/arm64 darwin/arm64 windows/amd64 freebsd/amd64

.PHONY: all build test check vet cross unit race fuzz fuzz-long bench demo deps clean generate

all: build

build:
	$(GO) build -ldflags="-s -w" -o $(BIN) ./cmd/tahoe

# Everything a fresh Debian machine lacks: tor for the real Tor networks, nftables and friends for the leak lab.
deps:
	@scripts/deps

test: deps build check race
	@echo "make test: all passed"

check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	@scripts/staticcheck
	$(GO) test ./internal/check/archtest

# Whether it compiles for them is checked in `make test`, by types.
cross: build
	@for p in $(PLATFORMS); do echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/tahoe || exit 1; done

# The race detector needs cgo; the product is built without. archtest reads code and has no part in races; check has run it.
# One package more at a time than there are processors: those with real Tor networks mostly wait.
race:
	CGO_ENABLED=1 $(GO) test -race -p $$(($$(nproc) + 1)) -shuffle=on -timeout $(TEST_TIMEOUT) $$($(GO) list ./... | grep -v /check/archtest)

unit:
	$(GO) test -shuffle=on ./...

# Every fuzz target, FUZZTIME each (make fuzz FUZZTIME=10m for the long run).
fuzz:
	@scripts/fuzz $(FUZZTIME)

fuzz-long:
	@scripts/fuzz 10m

# FILE=path  KEEP=1  TOR=system
demo: deps build
	@$(GO) build -o bin/demo ./internal/check/demo && bin/demo

bench:
	@scripts/bench

generate:
	$(GO) generate ./...

clean:
	rm -rf bin
