//! The build script: has the linker put functions that are used together next to each other (deploy/link/README.md).

#[path = "deploy/link/order.rs"]
mod order;

fn main() {
    order::instruct_linker();
}
