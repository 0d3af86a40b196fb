//! The command line as text: `cmd/*.trycmd` show what is typed and what comes back.
//!
//! After a change of the texts, `TRYCMD=overwrite cargo test --test system cmd` writes them anew; read the difference.

#[test]
fn the_texts_are_what_the_program_prints() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("CLOAKROOM_SOCKET", "/nowhere/cloakroom.sock")
        .case("tests/cmd/*.trycmd");
}
