# Everything runs from one virtual environment, made on first use: `make demo` and `make test` need only Python 3.11+, gcc and make.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo test test-oldest test-ptx test-slow test-cpp test-threads fuzz lint format bench study gpu docs wheel wheels clean

# Of `make fuzz`, and of `make test-ptx`, whose cases take longer.
CASES ?= $(if $(filter test-ptx,$(MAKECMDGOALS)),2000,20000)
SEED := $(or $(SEED),$(shell date +%s))

# PyTorch's threads spin as they wait; for long, that made training ten times slower on a machine with other work.
demo test test-ptx test-slow: export GOMP_SPINCOUNT ?= 1000

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## the paper's experiment on the phantom, through nnU-Net, and its report
	$(BIN)/surfloss info
	$(BIN)/surfloss reproduce --preset tiny --out $(DEMO) --min-dice 0.5

test: $(INSTALLED) test-cpp  ## all tests but the slow ones, with some of test-ptx
	$(BIN)/python -m pytest
	TRITON_INTERPRET=0 $(BIN)/python -m pytest -m ptx tests/ptx

test-ptx: $(INSTALLED)  ## compiled GPU kernels in the emulator: CASES random ones, seed SEED, every compiler
	@echo "seed $(SEED), $(CASES) cases"
	TRITON_INTERPRET=0 PTX_TARGETS=all PTX_CASES=$(CASES) PTX_SEED=$(SEED) $(BIN)/python -m pytest -m ptx tests/ptx

test-slow: $(INSTALLED)  ## the slow ones: trainings on real volumes
	$(BIN)/python -m pytest -m slow

OLDEST := build/oldest
test-oldest:  ## the library with the oldest supported versions, in an environment of its own
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint packaging/oldest.txt ".[monai]" pytest pytest-timeout hypothesis edt
	$(OLDEST)/bin/python -m pytest -p no:cacheprovider tests/losses tests/ops tests/metrics tests/transforms \
		tests/backends/test_cpu.py tests/test_edt.py tests/test_ndimage.py tests/test_label_edt.py tests/test_check.py tests/test_presets.py

test-cpp: $(INSTALLED)  ## the CPU library under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call cpp-test,address$(COMMA)undefined,300 1)

test-threads: $(INSTALLED)  ## the CPU library under ThreadSanitizer
	$(call cpp-test,thread,300 1)

fuzz: $(INSTALLED)  ## CASES random volumes against brute force, seed SEED
	$(call cpp-test,,$(CASES) $(SEED))

# $(1) sanitizers, $(2) arguments of the test program
COMMA := ,
define cpp-test
	$(BIN)/cmake -S . -B build/cpp-$(or $(subst $(COMMA),-,$(1)),plain) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
		-DSURFLOSS_TESTS=ON "-DSURFLOSS_SANITIZE=$(1)"
	$(BIN)/cmake --build build/cpp-$(or $(subst $(COMMA),-,$(1)),plain)
	build/cpp-$(or $(subst $(COMMA),-,$(1)),plain)/test_cpu $(2)
endef

lint: $(INSTALLED)  ## style and types, also of C++ and CUDA
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/clang-format --dry-run --Werror $(wildcard csrc/*/*.cpp csrc/*/*.h csrc/*/*.cu csrc/*/*.cuh tests/cpp/* tests/support/ptx/core/*)
	printf '%s\n' csrc/cpu/*.cpp | xargs -P 4 -I{} $(BIN)/clang-tidy --quiet {} -- -std=c++17 -Icsrc/include -Icsrc/cpu -Wall -Wextra

format: $(INSTALLED)  ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(wildcard csrc/*/*.cpp csrc/*/*.h csrc/*/*.cu csrc/*/*.cuh tests/cpp/* tests/support/ptx/core/*)

bench: $(INSTALLED)  ## the published comparison, its picture, and the tables of README and docs
	$(BIN)/python -m benchmarks.compare

study: $(INSTALLED)  ## the study of surface losses: trains what is missing of it, some hours, and fills its page
	for plan in exploration confirmation replication collapse rare brain; do $(BIN)/python -m benchmarks.training.study run $$plan || exit; done
	for plan in confirmation replication; do $(BIN)/python -m benchmarks.training.study test $$plan || exit; done
	$(BIN)/python -m benchmarks.training.study document

gpu:  ## all tests and measurements on a GPU, with PYTHON as it is; WHEELS=folder has what it lacks
	$(PYTHON) benchmarks/gpu.py $(if $(WHEELS),--wheels $(WHEELS)) $(if $(OUT),--out $(OUT))

docs: $(INSTALLED)  ## the page of the command line, and the site into site/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	$(BIN)/typer surfloss.cli utils docs --name surfloss --title "Command line" --output docs/reference/cli.md
	$(BIN)/mkdocs build --strict

wheel: $(INSTALLED)  ## source distribution and wheel, into dist/; the wheel tried in an environment of its own
	$(BIN)/python -m build
	rm -rf build/wheel-env
	$(PYTHON) -m venv build/wheel-env
	build/wheel-env/bin/python -m pip install --quiet --constraint constraints.txt dist/surfloss-*.whl
	build/wheel-env/bin/python tests/wheel.py

wheels: $(INSTALLED)  ## a wheel for every platform, cross-compiled into dist/ and checked
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[wheels]"
	$(BIN)/python packaging/wheels.py

clean:
	rm -rf $(VENV) $(DEMO) build dist site src/surfloss/_lib

$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON): got an older Python, wanted 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
