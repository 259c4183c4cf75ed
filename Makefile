# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint units sanity molecule lock clean
SHELL := /bin/bash
# Molecule keeps a scenario's state below this, by the name of the checkout's folder, which another checkout may have too.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export MOLECULE_GLOB := molecule/*/molecule.yml
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## virtual environment, Docker engine, base images: what the other targets need
	@tools/venv
	@tools/engine
	@tools/images

demo: setup ## a firehose and a Gerrit stand-in in containers, with events flowing
	@tools/demo start

test: setup lint units sanity molecule ## everything: what CI runs

lint: ## the linters
	ruff check
	ruff format --check
	shellcheck --external-sources .ci/run tools/venv tools/engine tools/images tools/sanity tools/demo
	yamllint --strict .
	ansible-lint

units: ## the tests that need no container
	pytest tests/unit tests/bad_input

sanity: ## ansible-test's sanity tests
	tools/sanity

molecule: ## all Molecule scenarios
	molecule test --all

lock: ## resolve requirements/dev.in into requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url \
		--no-emit-find-links --upgrade requirements/dev.in --output-file requirements/dev.txt

clean: ## remove the demo, the images, the virtual environment and caches; stop the engine if it was started here
	@tools/demo clean
