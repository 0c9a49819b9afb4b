# Everything a person types. `make help` lists it; ARGS= passes options on:
#   make call ARGS="--listen 0.0.0.0:8443 --tls"     make test ARGS="--filter ICE"

ARGS ?=
RTC_PEER := .build/release/rtc-peer
SWIFT_FOLDERS := Package.swift $(wildcard Sources Tests Examples Benchmarks Fuzz)
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: call build test test-browser test-network test-network-stacks test-faults test-devices test-asan test-tsan examples bench bench-data bench-paths bench-devices bench-sound lint format docs clean help dependencies test-dependencies

## call: install what is missing, build, and start a call: open the printed address in a browser
call: build
	@$(RTC_PEER) call $(ARGS)

## build: install what is missing and build rtc-peer and the libraries in release mode
build: dependencies
	@swift build -c release --product rtc-peer

## test: install what is missing, build, run all unit tests
test: test-dependencies
	@scripts/unit-tests $(ARGS)

## test-browser: real calls with Chromium, Firefox, aiortc and a second rtc-peer; screenshots go to artifacts/
test-browser: test-dependencies build
	@Interop/run $(ARGS)

## test-network: calls between all kinds of networks, through NATs and TURN servers, in network namespaces (root)
test-network: test-dependencies build
	@Tests/Netlab/connectivity $(ARGS)
	@Tests/Netlab/doctors

## test-network-stacks: the same beside and against Chromium, Firefox, aiortc, libdatachannel and libwebrtc, as a table (root)
test-network-stacks: test-dependencies build
	@BENCHMARKS=1 swift build -c release --product peer-bench
	@Tests/Netlab/stacks $(ARGS)

## test-faults: what a running call does when networks and programs fail, as a table (root; 8 minutes)
test-faults: test-dependencies build
	@Tests/Netlab/faults $(ARGS)

## test-devices: cameras, microphone and loudspeaker against the kernel's own drivers, in a guest kernel built once
test-devices: test-dependencies build
	@RTC_PEER=$(RTC_PEER) Interop/devices/run $(ARGS)

# Without leaks: the search does not follow references in whose spare bits Swift keeps something, and reports what lives
# as long as the process. What a connection leaves behind, OpeningAndClosing counts.
## test-asan: the unit tests under the Address Sanitizer
test-asan: dependencies
	@ASAN_OPTIONS=detect_leaks=0 scripts/unit-tests --sanitize=address --scratch-path .build-asan $(ARGS)

## test-tsan: the unit tests under the Thread Sanitizer
test-tsan: dependencies
	@TSAN=1 scripts/unit-tests --sanitize=thread --scratch-path .build-tsan $(ARGS)

## examples: build every program in Examples/, and run those that end by themselves
examples: dependencies
	@scripts/build-examples --run

## bench: print the tables of all benchmarks
bench: dependencies
	@Benchmarks/run $(ARGS)

## bench-data: print the data channel's table only
bench-data: dependencies
	@Benchmarks/run --only data $(ARGS)

## bench-paths: the data channel's rate over long and lossy paths, in network namespaces (root)
bench-paths: dependencies
	@Benchmarks/paths $(ARGS)

## bench-sound: print what is left of echo and speech, and what taking the echo out costs
bench-sound: test-dependencies
	@BENCHMARKS=1 swift build -c release --product sound-bench
	@.build/release/sound-bench $(ARGS)

## bench-devices: CPU of a camera's pictures beside ffmpeg, and delays from camera and to loudspeaker (a guest kernel)
bench-devices: test-dependencies
	@Benchmarks/devices $(ARGS)

## lint: check the format of every Swift file; changes nothing
lint:
	@swift format lint --strict --recursive --parallel $(SWIFT_FOLDERS)

## format: bring every Swift file into the project's format
format:
	@swift format --in-place --recursive --parallel $(SWIFT_FOLDERS)

## docs: build the DocC pages of the public API into .build/docs
docs: dependencies
	@scripts/build-docs

## clean: remove everything that was built, and the tests' artefacts
clean:
	@rm -rf .build .build-* artifacts

dependencies:
	@scripts/install-dependencies

test-dependencies:
	@scripts/install-dependencies --test

help:
	@echo 'Usage: make TARGET [ARGS="options"]'; echo
	@sed -n 's/^## \([a-z-]*\): \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done
