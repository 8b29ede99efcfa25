# Everything a developer or a curious user needs; `make help` lists it.
# PYTHON=... chooses the interpreter for .venv, PYTEST_FLAGS=... goes to pytest, BENCH_FLAGS=... to the count of instructions.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := .venv/.sources
# Debian packages, each beside a program that tells whether it is there.
APT := qemu-system-arm:qemu-system-arm gcc-arm-none-eabi:arm-none-eabi-gcc \
  qemu-system-misc:qemu-system-riscv32 gcc-riscv64-unknown-elf:riscv64-unknown-elf-gcc gcc:cc g++:g++ \
  qemu-user:qemu-aarch64 gcc-aarch64-linux-gnu:aarch64-linux-gnu-gcc
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Compile a pruned network for host and Cortex-M55, run both, compare bit for bit
	@$(BIN)/python examples/demo.py

.PHONY: test
test: setup ## Run all tests, a file at a time on each processor
	$(BIN)/pytest --numprocesses auto --dist loadfile $(PYTEST_FLAGS)

.PHONY: fuzz
fuzz: setup ## Try random networks on host and in QEMU for MINUTES=10
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

.PHONY: coverage
coverage: setup ## Run all tests and tell which lines and branches of the Python sources none reaches
	$(BIN)/pytest --numprocesses auto --dist loadfile --cov --cov-report=term-missing:skip-covered $(PYTEST_FLAGS)

.PHONY: bench
bench: setup ## Instructions beside CMSIS-NN's and DTMM's, then host milliseconds beside LiteRT's and stock IREE's
	@$(BIN)/python benchmarks/instructions.py $(BENCH_FLAGS)
	@$(BIN)/python benchmarks/host.py

.PHONY: sanitize
sanitize: setup ## Compile 50 times with the plug-in under AddressSanitizer and UndefinedBehaviorSanitizer
	SANITIZED_RUNS=50 $(BIN)/pytest tests/plugin/test_sanitizers.py

.PHONY: wheels
wheels: setup ## Build the wheel, and try it in an empty environment of each Python that is here
	WHEELS=1 $(BIN)/pytest tests/packaging

.PHONY: lint
lint: setup ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: setup ## Format the Python sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: setup
setup: tools $(INSTALLED) ## Install everything into .venv, and the cross tools where root
	@:

.PHONY: docs
docs: setup ## Build the documentation into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo build/site/index.html

.PHONY: clean
clean: ## Remove caches and build products; .venv stays
	rm -rf build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

.PHONY: distclean
distclean: clean ## Remove .venv as well
	rm -rf .venv

.PHONY: tools
tools:
	@missing=""; \
	for pair in $(APT); do command -v "$${pair#*:}" >/dev/null || missing+=" $${pair%:*}"; done; \
	case "$$(arm-none-eabi-gcc -print-file-name=libc.a 2>/dev/null || true)" in */*) ;; *) missing+=" libnewlib-arm-none-eabi" ;; esac; \
	case "$$(riscv64-unknown-elf-gcc -print-file-name=picolibc.specs 2>/dev/null || true)" in */*) ;; *) missing+=" picolibc-riscv64-unknown-elf" ;; esac; \
	[ -e /usr/include/stdlib.h ] || missing+=" libc6-dev"; \
	case "$$(aarch64-linux-gnu-gcc -print-file-name=libc.a 2>/dev/null || true)" in */*) ;; *) missing+=" libc6-dev-arm64-cross" ;; esac; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; apt-get -qq update; \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else \
	  echo "error: these Debian packages are missing:$$missing" >&2; \
	  echo "Install them as root (apt-get install$$missing) and run make again." >&2; exit 1; \
	fi

# A file that comes or goes must be known to the editable installation; one that changes is already.
$(SOURCES): FORCE | .venv/bin/python
	@find dtmm_mlir dialect passes runtime -type f -not -path '*/__pycache__/*' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# The C++ compiler comes first: with it the installation builds the plug-in.
$(INSTALLED): pyproject.toml CMakeLists.txt $(wildcard plugin/*) $(SOURCES) | tools
	$(BIN)/pip install --quiet --editable '.[torch,tflite,prune,report,dev]'
	@touch $@

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "error: Python 3.11, 3.12 or 3.13 is needed; install python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is $$($(PYTHON) -V); set PYTHON=..." >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  package="$$($(PYTHON) -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$package"; apt-get -qq update; \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$package >/dev/null; \
	  else \
	    echo "error: the Debian package $$package is missing; install it as root and run make again." >&2; exit 1; \
	  fi; \
	fi
	$(PYTHON) -m venv .venv

.PHONY: FORCE
FORCE:
