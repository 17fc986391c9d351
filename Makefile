# fanout: build, test, run, install. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
# For each target of `make fuzz`.
SECONDS ?= 60

BIN := .build/release
PYTHON := .build/python/bin/python
SWIFT_FILES := Package.swift Sources Tests bench examples

.DEFAULT_GOAL := build
.PHONY: help run build test test-swift simulate power-cut planted test-end-to-end kill9 test-readers counts bench \
        bench-store compare fuzz fuzz-smoke autobahn typescript install uninstall format lint clean dependencies \
        test-dependencies compare-dependencies

run: build ## see it live: this host's own events and a page, on http://127.0.0.1:7575/
	$(BIN)/fanout demo

build: dependencies ## the release binary, .build/release/fanout, with liburing and the Swift runtime inside
	swift build -c release --static-swift-stdlib

test: test-dependencies test-swift planted fuzz-smoke test-end-to-end test-readers counts ## every suite; Tests/README.md says what each shows

test-swift: test-dependencies ## the Swift suites: parsers, encoders, reactor, server in the simulation
	swift build --build-tests
	swift test --skip-build

planted: test-dependencies ## 2,000 worlds of the simulation, optimised; then each of many planted bugs must be found
	Tests/planted.sh

SEEDS ?= 10000

simulate: test-dependencies ## the server in the simulation for many seeds, optimised: SEEDS=10000
	swift build -c release -Xswiftc -enable-testing --build-tests --scratch-path .build/simulate
	FANOUT_SIMULATION_SEEDS=$(SEEDS) swift test -c release -Xswiftc -enable-testing --skip-build \
	    --scratch-path .build/simulate --filter SimulationTests

LIVES ?= 100

power-cut: test-dependencies ## what power cuts leave of a database, 300 disks of each life, optimised: LIVES=100
	swift build -c release -Xswiftc -enable-testing --build-tests --scratch-path .build/simulate
	FANOUT_POWER_CUT_LIVES=$(LIVES) swift test -c release -Xswiftc -enable-testing --skip-build \
	    --scratch-path .build/simulate --filter EventStoreTests.PowerCutTests

test-end-to-end: test-dependencies build ## the release binary seen from outside, by other people's clients
	$(PYTHON) -m pytest Tests/EndToEnd

KILLS ?= 200

kill9: test-dependencies build ## KILLS=200 times SIGKILL under publishers with acks and readers that come back: what was lost?
	$(PYTHON) Tests/EndToEnd/kill9.py --kills $(KILLS)

test-readers: test-dependencies build ## 5,000 readers, 1,000 events each, every delivery checked; and the checker checked
	Tests/readers-notice.sh
	Tests/yardsticks.sh
	Tests/many-readers.sh

counts: test-dependencies build ## allocations, system calls, instructions, memory: counted, against bench/thresholds.json
	Tests/counts.sh

bench: dependencies ## what a delivery costs, against the least program that does the same sends: ten minutes
	bench/compare --subjects 'fanout|floor' --rows '^(one at a time|bursts): .* 1,000 readers' --rounds 3

bench-store: dependencies ## the database at ten million events, beside what its disk does: 4 GiB in .build/bench
	swift build -c release --product store-figures
	mkdir -p .build/bench
	$(BIN)/store-figures --data .build/bench/store

compare: compare-dependencies ## against the floor, a thread per subscriber, nginx, NATS, Redis, mosquitto; writes bench/RESULTS.md
	bench/compare --write

fuzz: dependencies ## SECONDS=60 of random input for each parser and encoder; what breaks one is kept below .build/fuzz
	Tests/fuzz.sh $(SECONDS)

fuzz-smoke: dependencies ## the inputs in Tests/Fuzz/Corpora, then 5 seconds of new ones for each target
	Tests/fuzz.sh smoke

autobahn: build ## the WebSocket conformance suite (301 cases) against examples/echo, on both I/O backends
	Tests/autobahn.sh

typescript: build ## the types that `fanout schema --typescript` prints, seen by TypeScript's own compiler
	Tests/typescript.sh

install: build ## PREFIX=/usr/local, DESTDIR for packagers
	install -D -m 755 $(BIN)/fanout $(DESTDIR)$(PREFIX)/bin/fanout

uninstall: ## removes what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/fanout

format: ## lays the Swift sources out as .swift-format says
	swift format --in-place --parallel --recursive $(SWIFT_FILES)

lint: ## says where the Swift sources differ from .swift-format
	swift format lint --strict --parallel --recursive $(SWIFT_FILES)

clean: ## removes everything that was built
	rm -rf .build

dependencies:
	@scripts/install-dependencies build

test-dependencies:
	@scripts/install-dependencies test

compare-dependencies:
	@scripts/install-dependencies compare

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 18
