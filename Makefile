# Everything runs in .venv, which the first target that needs it sets up.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

FILES := ir/ops/linear/kernel.py

COUNT := 4000
SEED := 0
KIND :=
SECONDS := 3600
JOBS := 2
FUZZED := layout arithmetic convnet plain mixed grammar nnsmith int8 tvm

.PHONY: demo test test-slow test-hosts sweep fuzz coverage mutants bench docs lint format install clean

install: $(STAMP)

$(STAMP): pyproject.toml setup.py
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade "pip>=24"
	$(RUN) -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(STAMP)
	$(RUN) examples/demo.py

test: $(STAMP)
	$(RUN) -m pytest -n 2 --dist worksteal --durations 20

test-slow: $(STAMP)
	$(RUN) -m pytest -m "slow or not slow" -n 2 --dist worksteal --durations 20

# All of what is tested in other programs, Olive and Transformers among them.
test-hosts: $(STAMP)
	$(RUN) -m pytest -m "slow or not slow" -n 2 -rs tests/integrations \
		tests/cli/test_model_folders.py tests/ir/run/test_image_processor.py

# `exact` on random graphs of each kind: make sweep COUNT=500 SEED=20000; TVM: KIND=tvm
sweep: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m tests.sweep --count $(COUNT) --seed $(SEED) $(KIND:%=--kind %)

# All subjects of the sweep for a time, in turns, and files with other bytes; it goes on where it stood:
# make fuzz SECONDS=28800 JOBS=8
fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m tests.sweep --seconds $(SECONDS) --jobs $(JOBS) --state fuzz.json \
		--out fuzz-faults $(patsubst %,--kind %,$(FUZZED))
	OMP_NUM_THREADS=1 $(RUN) -m tests.sweep.mutated --count 1000 --seed $(SEED) --out fuzz-faults

# In htmlcov/ and, in short, here. Tests are twice as slow.
coverage: $(STAMP)
	$(RUN) -m pytest -n 2 --dist worksteal --cov --cov-report=html --cov-report=term:skip-covered

# make mutants FILES="ir/ops/masks.py ir/ops/slices.py" TESTS=tests/ir/ops
mutants: $(STAMP)
	$(RUN) .ci/mutants.py $(FILES) $(if $(TESTS),--tests $(TESTS))

bench: $(STAMP)
	$(RUN) -m benchmarks.rewrites
	$(RUN) -m benchmarks.linear
	$(RUN) -m benchmarks.exporters
	$(RUN) -m benchmarks.quantized_speed
	$(RUN) -m benchmarks.integer_bound
	$(RUN) -m benchmarks.weight_formats
	$(RUN) -m benchmarks.integer_accuracy
	$(RUN) -m benchmarks.calibration_memory
	$(RUN) -m benchmarks.decompositions
	$(RUN) -m benchmarks.backends
	$(RUN) -m benchmarks.reduce
	$(RUN) -m benchmarks.race
	$(RUN) -m benchmarks.open_batch

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(RUN) .ci/typecheck.py

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .mutants .coverage* htmlcov
