# Each target is one short script in scripts/, which can be run by hand as well. ARGS reaches the script.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check bench gpu-check fusion-table text-table modality-table clean

help:     ## this list
	@sed -n 's/^\([a-z-]*\):.*## */  make \1\t/p' Makefile | expand -t 24

setup:    ## system packages, .venv, Python packages, self-check; again at will
	@scripts/setup.sh

demo: setup     ## the whole chain on generated media, then a report page in demo-out/
	@scripts/demo.sh $(ARGS)

test: setup     ## the tests, without the slow ones
	@scripts/test.sh $(ARGS)

test-all: setup ## all tests
	@scripts/test.sh --all $(ARGS)

check: setup    ## style, types, and which room may import which
	@scripts/check.sh

bench: setup    ## latency and throughput on this machine
	@scripts/bench.sh $(ARGS)

gpu-check: ## everything real on a machine with an NVIDIA GPU; figures into benchmarks/results/
	@scripts/gpu-check.sh $(ARGS)

fusion-table: setup ## every fusion of both systems trained and compared, into docs/; half an hour, resumable
	@scripts/table.sh fusion $(ARGS)

text-table: setup ## what words add to video and audio, from three seeds, into docs/; resumable
	@scripts/table.sh text $(ARGS)

modality-table: setup ## what a missing modality costs, with and without modality dropout, into docs/; resumable
	@scripts/table.sh modality $(ARGS)

clean:    ## everything made by the targets above, .venv included
	rm -rf .venv build demo-out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache \
		.benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
