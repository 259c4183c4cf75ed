# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

.DEFAULT_GOAL := help
# The slowest first, so that none of them runs alone in the end.
SLOWEST := molecule-default molecule-edge molecule-roles molecule-site
SCENARIOS := $(patsubst molecule/%/molecule.yml,molecule-%,$(wildcard molecule/*/molecule.yml))
# Neither `make molecule` nor `make test` runs them: each has a target of its own.
LONG_ONLY := molecule-cluster molecule-upgrade
SCENARIOS := $(filter-out $(LONG_ONLY),$(SCENARIOS))
SCENARIOS := $(filter $(SLOWEST),$(SCENARIOS)) $(filter-out $(SLOWEST),$(SCENARIOS))
.PHONY: help setup demo check test test-long lint units docs ansible-test tarball molecule tables faults hostile change edge cluster upgrade bench-converge bench-fanout bench-germqtt lock clean ansible-test-oldest ansible-test-newest $(SCENARIOS)
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
# Molecule keeps a scenario's state below this, by the name of the checkout's folder, which another checkout may have too.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export MOLECULE_GLOB := molecule/*/molecule.yml
export PATH := $(CURDIR)/.venv/bin:$(PATH)
MOLECULE_JOBS ?= 2
LOGS := .cache/logs
HOSTILE_RELEASES ?= 12 13 14
RESOLVE := uv pip compile --quiet --universal --no-header --no-emit-index-url --no-emit-find-links
HASHED := $(RESOLVE) --generate-hashes

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## virtual environment, Docker engine, base images: what the other targets need
	@tools/venv
	@tools/engine
	@tools/images

demo: setup ## a firehose and a Gerrit stand-in in containers, with events flowing
	@tools/demo start

test: setup units ## everything: what CI runs
	@echo "two at once; each is shown when it is done"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=recurse lint docs tarball ansible-test-oldest ansible-test-newest
	@$(MAKE) --no-print-directory molecule

check: setup ## before each commit: linters, unit tests, docs, and one firehose on Debian 13, in 10 minutes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=recurse molecule-faults lint docs units

test-long: setup ## before a release, for a night: the long forms, two scenarios that `make test` does not run, and the benchmarks
	@$(MAKE) --no-print-directory --keep-going faults change edge hostile cluster upgrade bench-converge bench-fanout bench-germqtt

lint: ## the linters
	ruff check
	ruff format --check
	git ls-files -z --cached --others --exclude-standard | xargs -0 grep -lsE --null '^#!.*[/ ](ba)?sh\b' | xargs -0 shellcheck --external-sources
	yamllint --strict .
	ansible-lint

units: ## the tests that need no container
	pytest --numprocesses=2 --dist=loadfile --hypothesis-profile=thorough tests/unit tests/bad_input

docs: ## what antsibull-docs and ansible-doc say of the documentation
	tools/docs

ansible-test: ## ansible-test's sanity tests with the oldest and the newest ansible-core, and the unit tests again with the newest
	@echo "both at once; each is shown when it is done"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=recurse ansible-test-oldest ansible-test-newest

# `make units` runs the unit tests with the oldest ansible-core.
ansible-test-oldest:
	tools/ansible-test oldest sanity

ansible-test-newest:
	tools/ansible-test newest sanity
	tools/ansible-test newest units

tarball: ## what Galaxy gets: build it, look into it, import it as Galaxy does, install it
	python tools/tarball.py

molecule: ## all Molecule scenarios, two at a time (MOLECULE_JOBS=2); what failed is shown once more at the end
	@echo "each scenario is shown when it is done"
	@rm -rf $(LOGS)
	@$(MAKE) --no-print-directory --jobs=$(MOLECULE_JOBS) --keep-going --output-sync=recurse $(SCENARIOS) || \
		{ tools/failures $(LOGS)/*; exit 1; }

$(SCENARIOS): molecule-%:
	@mkdir -p $(LOGS)
	molecule test --scenario-name $* 2>&1 | tee $(LOGS)/$*

tables: ## write the tables of variables in the roles' READMEs
	python tools/role_tables.py

faults: setup ## the scenario faults in its long form: 10,000 events for each fault (FAULTS_RELEASE=13)
	@FAULTS=long molecule test --scenario-name faults

change: setup ## the scenario change in its long form: all bad changes and all good ones
	@CHANGE=long molecule test --scenario-name change

edge: setup ## the scenario edge in its long form: each fault at each edge host
	@EDGE=long molecule test --scenario-name edge

cluster: setup ## the scenario cluster, which `make test` does not run: a core host feeds a cluster of RabbitMQ, which serves anonymous clients
	@molecule test --scenario-name cluster

upgrade: setup ## the scenario upgrade, which no other target runs: hosts of earlier versions, upgraded while clients connect
	@molecule test --scenario-name upgrade

hostile: setup ## the scenario hostile in its long form, at a core host on each Debian and at an edge host: 10 newcomers on each transport for each attack (HOSTILE_RELEASES="12 13 14")
	@failed=; for release in $(HOSTILE_RELEASES); do \
		HOSTILE=long HOSTILE_TARGET=core HOSTILE_RELEASE=$$release molecule test --scenario-name hostile || failed+=" core-$$release"; \
	done; HOSTILE=long HOSTILE_TARGET=edge molecule test --scenario-name hostile || failed+=" edge"; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

bench-converge bench-fanout bench-germqtt: bench-%: setup
	@tools/bench $*
bench-converge: ## what runs take, beside the usual way of doing the same (BENCH_RUNS=5)
bench-fanout: ## how brokers fan events out to thousands, in half an hour (BENCH_RUNS=3 FANOUT_CASES="100 1000" FANOUT_CONTENDERS="stock core")
bench-germqtt: ## what germqtt takes, beside germqtt 0.1.0 and a bare publisher (BENCH_RUNS=3 BENCH_RELEASE=13 BENCH_BEFORE=COMMIT)

lock: ## resolve requirements/*.in into the pinned versions, with their hashes, that get installed
	$(HASHED) --python-version 3.11 --upgrade requirements/dev.in --output-file requirements/dev.txt
	$(HASHED) --python-version 3.12 --upgrade requirements/newest.in --output-file requirements/newest.txt
	$(HASHED) --python-version 3.11 --upgrade requirements/germqtt.in --output-file roles/germqtt/files/germqtt-0.1.0.txt
	$(RESOLVE) --python-version 3.11 --upgrade --constraint requirements/dev.txt requirements/units.in \
		--output-file tests/unit/requirements.txt

clean: ## remove the demo, the images, the virtual environment and caches; stop the engine if it was started here
	@tools/demo clean
