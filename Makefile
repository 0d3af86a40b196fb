# What a person runs and what CI runs are the same commands. Nothing here needs more than cargo and a C compiler.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help check fmt lint install-test-deps test model soak-minute soak host manifests pod prometheus fuzz-short fuzz
.PHONY: mutations doc deb image deny bench order

CARGO ?= cargo

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-20s %s\n", $$1, $$2 }'

# A test that cannot run is a failure here, not a pass: the variable forbids tests to skip themselves.
check: export CLOAKROOM_REQUIRE_ALL = 1
check: fmt lint install-test-deps test model soak-minute
check: host manifests pod prometheus fuzz-short doc ## Everything that has to hold before a commit

fmt: ## Is the code formatted? (cargo fmt mends it)
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path benches/Cargo.toml

lint: ## Clippy on everything, warnings forbidden
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target --lib -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/Cargo.toml --target-dir target --all-targets -- -D warnings

install-test-deps: ## Install what the tests need besides cargo
	bash tests/install.sh

test: ## Every test but the next two, which take a minute each
	$(CARGO) test --locked

model: ## 10 000 random histories against the guarantees
	$(CARGO) test --locked --test model -- --nocapture

manifests: ## The Kubernetes manifests, against schemas and a policy; the Dockerfile
	target/manifests-venv/bin/hadolint deploy/Dockerfile
	target/manifests-venv/bin/python tests/manifests/check.py

# As root: it makes volumes and runs containers.
pod: ## The image in a pod's conditions, under podman and runc
	bash tests/pod/pod.sh

image: ## The container image, and its size
	bash deploy/image.sh

soak-minute: ## The soak test: everything at once, for a minute
	$(CARGO) test --locked --test soak -- --nocapture

# An hour sees what a minute does not: users who come back, and memory that grows.
soak: ## The same for an hour
	CLOAKROOM_SOAK_SECONDS=3600 $(CARGO) test --locked --test soak -- --nocapture

# On a Debian of the oldest release that it is for: it needs the C library that it was built with, or a newer one.
deb: ## The Debian package, in target/debian
	bash deploy/deb/build.sh

host: ## The package on a host of its own: a systemd booted in a container
	bash tests/host/run.sh

prometheus: ## Alerts, dashboard and runbook against a real Prometheus that scrapes the daemon
	bash tests/prometheus/run.sh

# With luck that does not change from check to check: what a change did not break does not fail beside it.
fuzz-short: export FUZZ_SEED = 1
fuzz-short: ## Every fuzz target for ten seconds and more, once they are built
	bash fuzz/run.sh 70

# Needs a quiet machine with two processors, and some ten minutes.
bench: ## cloakroom beside hyper, nginx and Redis; writes benches/RESULTS.md
	bash benches/run.sh

# After a change of the compiler or of dependencies, since names have hashes of both in them.
order: ## Which functions the linker puts next to each other; writes deploy/link/order.txt
	bash deploy/link/order.sh

fuzz: ## The same for an hour
	bash fuzz/run.sh 3600

# Apart from check: every one has to be compiled.
mutations: ## Break the daemon on purpose, in some forty ways, and see the histories notice
	bash tests/model/mutations.sh

doc: ## The documentation builds, without a broken link
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Apart from check: cargo-deny has to be compiled first, which takes minutes.
deny: ## Licences, banned crates and sources of everything we depend on
	command -v cargo-deny > /dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check bans licenses sources
