# The same commands for a person and for CI: `make help` lists them. `make test` needs cargo and a C compiler; what the
# others need besides is listed in tests/install.sh.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help test check setup ready fmt lint cargo-test doc lint-apart model soak-minute soak host manifests pod
.PHONY: prometheus openapi sdks fuzz-short fuzz mutations deny bench order deb image

CARGO ?= cargo

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

test: fmt lint cargo-test doc ## What a change needs first: minutes, as any user, nothing installed

# A test that cannot run fails here: the variable forbids that it skips itself.
check: export CLOAKROOM_REQUIRE_ALL = 1
check: ready test lint-apart model soak-minute
check: host manifests pod prometheus openapi sdks fuzz-short ## Everything, as CI runs it: half an hour, as root

setup: ## Install what `make check` needs: Debian packages (through sudo), crates, Python packages
	@bash tests/install.sh install $(PARTS)

# Before the first test: installs what is missing under CI or as root, and otherwise says what is missing.
ready:
	@bash tests/install.sh ensure root

# The parts of `make test`.

fmt: ## Check the format (`cargo fmt` corrects it)
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path benches/Cargo.toml

lint: ## Clippy, warnings forbidden
	$(CARGO) clippy --locked --all-targets --test model -- -D warnings

cargo-test: ## Every test but the model and the soak test
	$(CARGO) test --locked

doc: ## Build the documentation; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# The other parts of `make check`.

# Apart because libFuzzer is C++.
lint-apart: ## Clippy on the packages in fuzz/ and benches/
	@bash tests/install.sh ensure fuzz
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target --lib -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/Cargo.toml --target-dir target --all-targets -- -D warnings

model: ## Play 10 000 random histories against the guarantees
	$(CARGO) test --locked --test model -- --nocapture

soak-minute: ## Everything at once for a minute
	$(CARGO) test --locked --test load soak -- --ignored --nocapture

host: ## The package on a host of its own: a systemd booted in a container (as root)
	@bash tests/install.sh ensure host
	bash tests/host/run.sh

manifests: ## The Kubernetes manifests against schemas and a policy; the Dockerfile
	@bash tests/install.sh ensure manifests
	target/manifests-venv/bin/hadolint deploy/Dockerfile
	target/manifests-venv/bin/python tests/manifests/check.py

pod: ## The image in a pod's conditions, under podman and runc (as root)
	@bash tests/install.sh ensure manifests pod
	bash tests/pod/pod.sh

prometheus: ## Alerts, dashboard and runbook against a real Prometheus that scrapes the daemon
	@bash tests/install.sh ensure prometheus
	bash tests/prometheus/run.sh

openapi: ## Generated clients call every operation, and requests are made up for a minute
	@bash tests/install.sh ensure openapi
	bash tests/openapi/run.sh

sdks: ## Clients of others call providers' APIs and the Management API through the socket
	@bash tests/install.sh ensure sdks
	bash tests/sdks/run.sh

# A fixed seed: an input that is found anew each time does not fail a check whose change is not its cause.
fuzz-short: export FUZZ_SEED = 1
fuzz-short: ## Every fuzz target for ten seconds and more, once they are built
	@bash tests/install.sh ensure fuzz
	bash fuzz/run.sh 70

# Apart from `make check`, because each takes longer than all of it.

soak: ## The soak test for an hour, which shows users who return and memory that grows
	CLOAKROOM_SOAK_SECONDS=3600 $(CARGO) test --locked --test load soak -- --ignored --nocapture
	$(CARGO) test --locked --test load -- --ignored --nocapture gibibyte streams::

fuzz: ## Fuzz for an hour
	@bash tests/install.sh ensure fuzz
	bash fuzz/run.sh 3600

mutations: ## Break the daemon on purpose, in some forty ways, and see the histories notice
	bash tests/model/mutations.sh

# The advisories come last: their database is fetched from GitHub, the other checks need no network.
deny: ## Licences, bans, sources and advisories of every dependency
	@bash tests/install.sh ensure deny
	$(CARGO) deny --locked check bans licenses sources
	$(CARGO) deny --locked check advisories

# What a release needs: docs/internals/releasing.md.

# Needs a quiet machine with two processors, and some twenty minutes.
bench: ## Measure beside hyper, nginx and Redis; writes benches/RESULTS.md
	bash benches/run.sh

# After a change of the compiler or of dependencies, because names have hashes of both in them.
order: ## Find out which functions the linker puts together; writes deploy/link/order.txt
	bash deploy/link/order.sh

# On a Debian of the oldest release that it is for: the package needs the C library of its build, or a newer one.
deb: ## Build the Debian package, in target/debian
	bash deploy/deb/build.sh

image: ## Build the container image, and print its size
	bash deploy/image.sh
