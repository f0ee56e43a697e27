.PHONY: check format lint types test fast bench docs

check: lint types fast

format:
	ruff format .
	ruff check --fix .

lint:
	ruff format --check .
	ruff check .

types:
	mypy

test:
	pytest

fast:
	pytest -m "not maniskill and not slow and not gpu and not ray"

docs:
	mkdocs build

bench:
	python tests/benchmarks/bench_simulator.py --policy pickcube/expert
	python -m tests.benchmarks.bench_learner
	python -m tests.benchmarks.bench_rerollouts
	python -m tests.benchmarks.bench_rerollout_error
