# What a person runs and what CI runs are the same commands. Nothing here needs more than cargo and a C compiler.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help check fmt lint test doc install-test-deps model soak deny

CARGO ?= cargo

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-20s %s\n", $$1, $$2 }'

# A test that cannot run is a failure here, not a pass: the variable forbids tests to skip themselves.
check: export CLOAKROOM_REQUIRE_ALL = 1
check: fmt lint install-test-deps test doc ## Everything that has to hold before a commit

fmt: ## Is the code formatted? (cargo fmt mends it)
	$(CARGO) fmt --check

lint: ## Clippy on everything, warnings forbidden
	$(CARGO) clippy --locked --all-targets -- -D warnings

install-test-deps: ## Install what the tests need besides cargo
	bash tests/install.sh

test: ## Every test
	$(CARGO) test --locked

# Part of check for a minute already. An hour sees what takes longer: users who come back, and memory that grows.
model: ## Random histories against the guarantees, some minutes of them
	$(CARGO) test --locked --test model -- --nocapture

soak: ## The soak test for an hour
	CLOAKROOM_SOAK_SECONDS=3600 $(CARGO) test --locked --test soak -- --nocapture

doc: ## The documentation builds, without a broken link
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Apart from check: cargo-deny has to be compiled first, which takes minutes.
deny: ## Licences, banned crates and sources of everything we depend on
	command -v cargo-deny > /dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check bans licenses sources
