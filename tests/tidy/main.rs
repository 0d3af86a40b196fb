//! The text of the repository, held to itself and to the program: source, pages, packages.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests stop at the first surprise"
)]

mod architecture;
mod dependencies;
mod docs;
mod links;
mod package;
mod page_configurations;
mod references;
mod repository;
