# Every target is one short script; CI calls the same ones.
.PHONY: help up test test-cluster lint format bench generate lock
help:
	@echo "make up      set up and start the quickstart (http://127.0.0.1:8420)"
	@echo "make test    set up and run the tests"
	@echo "make test-cluster  only those on a real Kubernetes; needs root, Go and a few packages"
	@echo "make lint    ruff, mypy, import-linter, generated files"
	@echo "make format  let ruff rewrite what it can"
	@echo "make bench   measure, side by side with what it is compared to"
	@echo "make generate  write CRDs and reference pages anew from the models"
up:
	@scripts/up
test:
	@scripts/test
test-cluster:
	@scripts/test-cluster
lint:
	@scripts/lint
format:
	@scripts/format
bench:
	@scripts/bench
generate:
	@scripts/generate
lock:
	@scripts/lock --upgrade
