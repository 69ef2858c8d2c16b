# make demo    train, start the daemon, break pumps, watch the alerts (SECONDS=75)
# make test    the test suite
# make check   all that CI runs: format, lint, types, layers, tests
# make image   the container image, with docker or buildah (TAG=detector)
# make audit   known holes in what is installed, as pip-audit finds them on PyPI
# make quality the four benchmarks, where DETECTOR_DATA holds their files (FITS=3, build/quality)
# make bench   throughput and memory, side by side with a bare client (build/bench.json)
# make look    the dashboards as pictures, on a fleet that breaks (MINUTES=30, build/look)
#
# Against Apache Kafka, which KAFKA_HOME names:
# make chaos           kill, pause, cut, restart; nobody may tell (SEEDS=10, build/chaos.json)
# make fuzz            broken bytes, all accounted for (RECORDS=1000000, build/fuzz.json)
# make soak            a steady rate for long; what grows? (MINUTES=30, build/soak.png)
# make reloads         a new model every ten seconds (MINUTES=30, build/reloads.json)
# make bench-delivery  what exactly-once costs (build/delivery.json)

SECONDS ?= 75
TAG ?= detector
SEEDS ?= 10
FITS ?= 3
DETECTOR_DATA ?= ../shared/data
RECORDS ?= 1000000
MINUTES ?= 30
VENV := .venv
BIN := $(VENV)/bin
# The build without CUDA; a training machine with a GPU installs torch by itself.
TORCH := torch==2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

MODEL := build/chaos/run/model.onnx

.PHONY: demo test check image audit quality bench look chaos fuzz soak reloads bench-delivery clean

demo: $(VENV)/.demo
	$(BIN)/python -m training.demo --seconds $(SECONDS)

test: $(VENV)/.test
	$(BIN)/pytest -n 2 --dist loadfile

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) test

image:
	deploy/image/build.sh $(TAG)

audit: $(VENV)/.test
	$(PIP) pip-audit
	$(BIN)/pip-audit --skip-editable

quality: $(VENV)/.test
	for set in skab nab msl smd; do \
	    $(BIN)/training benchmark $$set --data $(DETECTOR_DATA) --seeds $(FITS) --halves || exit; \
	done

bench: $(VENV)/.test
	$(BIN)/python tests/perf/bench.py

bench-delivery: $(VENV)/.test
	$(BIN)/python tests/perf/delivery.py

look: $(MODEL)
	$(BIN)/python tests/deploy/look.py --minutes $(MINUTES) --model $(MODEL)

chaos: $(MODEL)
	$(BIN)/python tests/chaos/run_chaos.py --seeds $(SEEDS)

fuzz: $(MODEL)
	$(BIN)/python tests/fuzz/run_fuzz.py --records $(RECORDS) --model $(MODEL)

soak: $(MODEL)
	$(BIN)/python tests/soak/run_soak.py --minutes $(MINUTES) --model $(MODEL)

reloads: $(MODEL)
	$(BIN)/python tests/soak/run_reloads.py --minutes $(MINUTES) --model $(MODEL)

$(MODEL): | $(VENV)/.test
	$(BIN)/python tests/small_model.py $(@D)

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.torch:
	python3 -m venv $(VENV)
	$(PIP) --retries 0 --timeout 10 $(TORCH) --index-url $(TORCH_INDEX) 2>/dev/null || $(PIP) $(TORCH)
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[test]'
	touch $@ $(VENV)/.demo
