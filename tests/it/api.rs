//! The HTTP interface, through the real socket, against the simulated tenant.

mod connections;
mod operations;
mod requests;
mod users;

use cloakroom::fake_auth0::TenantOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::world::World;

async fn world() -> World {
    world_with("").await
}

async fn world_with(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

const HEADER: (&str, &str) = ("cloakroom-request", "true");

/// Sends bytes as they are and reads until the connection closes.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}
