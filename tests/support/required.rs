//! Whether a test may skip itself where something is missing that can be installed.

/// Under `CI` and `CLOAKROOM_REQUIRE_ALL` it may not.
#[expect(clippy::disallowed_methods, reason = "only a test's surroundings say whether it may be skipped")]
pub fn everything_is_required() -> bool {
    ["CI", "CLOAKROOM_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some())
}
