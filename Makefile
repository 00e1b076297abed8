# Every target is one short script; CI calls the same ones.
.PHONY: help up test lint format bench generate lock
help:
	@echo "make up      set up and start the quickstart (http://127.0.0.1:8420)"
	@echo "make test    set up and run the tests"
	@echo "make lint    ruff, mypy, import-linter, generated files"
	@echo "make format  let ruff rewrite what it can"
	@echo "make bench   measure, side by side with what it is compared to"
	@echo "make generate  write CRDs and reference pages anew from the models"
up:
	@scripts/up
test:
	@scripts/test
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
