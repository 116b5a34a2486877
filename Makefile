# The front door. Every command installs what it needs first (scripts/packages.sh) and builds only what it uses.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
# Total seconds of fuzzing, all fuzzers together.
FUZZ_SECONDS ?= 120
# Simulated worlds per scenario; empty: each test's own number (500 and more over the volume's scenarios).
SEEDS ?=

stage := scripts/stage.sh
seeds := $(if $(SEEDS),GODWIT_SEEDS=$(SEEDS))
export CTEST_OUTPUT_ON_FAILURE := 1
export CTEST_PARALLEL_LEVEL := $(JOBS)
# Names in the sanitizers' reports: addr2line comes with g++, llvm-symbolizer would be another 70 MB.
symbolizer := external_symbolizer_path=$(shell command -v addr2line)
export ASAN_OPTIONS ?= $(symbolizer):detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1
export TSAN_OPTIONS ?= $(symbolizer):second_deadlock_stack=1
ctest = ctest --progress --no-tests=error --test-dir build/$(1)
# A release build directory keeps the tests it was given; a new one starts without.
release_tests = $(if $(wildcard build/release/CMakeCache.txt),,-DGODWIT_TESTS=OFF)

.PHONY: help build demo test quick check format format-check tidy asan tsan fuzz interop bench install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

build: ## the release program, build/release/bin/godwit
	@scripts/packages.sh build
	@$(stage) configure cmake --preset release $(release_tests) --log-level=WARNING
	@$(stage) build cmake --build --preset release --target godwit -j $(JOBS)

demo: ## a 1 GiB volume moves to another host while it is written, and proves it
	@scripts/packages.sh build demo
	@$(stage) configure cmake --preset release $(release_tests) --log-level=WARNING
	@$(stage) build cmake --build --preset release --target demo_godwit demo_client -j $(JOBS)
	@scripts/demo.sh

test: ## everything that shows that it works, on the release objects
	@scripts/packages.sh build test
	@$(stage) configure cmake --preset release -DGODWIT_TESTS=ON --log-level=WARNING
	@$(stage) build cmake --build --preset release -j $(JOBS)
	@$(seeds) $(stage) test $(call ctest,release)
	@$(seeds) build/release/bin/volume_driver_test --gtest_filter='SceneSeeds.*' | grep '^simulated worlds'

quick: ## before every commit: build, tests with few seeds, layout
	@scripts/packages.sh build test format
	@$(stage) layout scripts/format.sh --check
	@$(stage) configure cmake --preset release -DGODWIT_TESTS=ON --log-level=WARNING
	@$(stage) build cmake --build --preset release -j $(JOBS)
	@GODWIT_SEEDS_PERCENT=5 $(stage) test $(call ctest,release) --label-exclude slow

check: ## layout, clang-tidy, sanitizers, fuzzers
	@scripts/packages.sh build test check
	@$(MAKE) --no-print-directory format-check tidy asan tsan fuzz

format: ## lays out the sources
	@scripts/packages.sh format
	@scripts/format.sh

format-check:
	@scripts/packages.sh format
	@$(stage) layout scripts/format.sh --check

tidy: ## clang-tidy on what ships; a file that did not change is not looked at again
	@scripts/packages.sh build check
	@cmake --preset asan --log-level=WARNING >/dev/null
	@$(stage) tidy scripts/clang_tidy.py build/asan/compile_commands.json -j $(JOBS)

asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer, a fifth of the seeds
	@scripts/packages.sh build test check
	@$(stage) asan-configure cmake --preset asan --log-level=WARNING
	@$(stage) asan-build cmake --build --preset asan -j $(JOBS)
	@GODWIT_SEEDS_PERCENT=20 $(stage) asan-test $(call ctest,asan)

tsan: ## the tests of the parts that have threads, under ThreadSanitizer
	@scripts/packages.sh build test check
	@$(stage) tsan-configure cmake --preset tsan --log-level=WARNING
	@$(stage) tsan-build cmake --build --preset tsan -j $(JOBS) --target threaded_tests
	@GODWIT_SEEDS_PERCENT=5 $(stage) tsan-test $(call ctest,tsan) -R '^(net|store|export|host|[a-z]+_driver)\.'

fuzz: ## every fuzzer, two at a time, FUZZ_SECONDS in total
	@scripts/packages.sh build check
	@cmake --preset fuzz --log-level=WARNING >/dev/null
	@$(stage) fuzz-build cmake --build --preset fuzz -j $(JOBS) --target fuzzers
	@$(stage) fuzz scripts/fuzz.sh $(FUZZ_SECONDS)

interop: ## against other programs: NBD clients, a kernel in a virtual machine, and the original Silo where $$SILO or the PATH has one
	@scripts/packages.sh build test interop
	@scripts/test_kernel.sh
	@$(stage) configure cmake --preset release -DGODWIT_TESTS=ON --log-level=WARNING
	@$(stage) build cmake --build --preset release --target godwit nbd_test_server -j $(JOBS)
	@$(stage) interop $(call ctest,release) --label-regex interop --verbose

bench: ## measures beside our peers; the figures also go to bench/results/latest.json
	@scripts/packages.sh build bench
	@[ -x bench/run ] || { echo "make bench: bench/run is missing" >&2; exit 1; }
	@$(MAKE) --no-print-directory build
	@bench/run

install: build ## into PREFIX (/usr/local), below DESTDIR if that is set
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

clean: ## removes what was built
	@rm -rf build
