//! What Auth0 may say of a user's identities: lifetimes in every form, texts that cannot be read, several accounts of
//! one connection, and far too many.

mod lifetimes;
mod many;
mod texts;

use std::time::Duration;

use bytes::Bytes;
use cloakroom::domain::error::Failure;
use cloakroom::domain::freshness::{Moment, Timestamp};
use cloakroom::domain::identity::Profile;
use cloakroom::domain::source::SourceOrders;
use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::TenantOptions;
use cloakroom::secret::TagKey;
use cloakroom::transport::response::{Answer, Timing};
use cloakroom::upstream::wire::{self, UserAnswer};
use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap};

use crate::support::world::World;

async fn world() -> World {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.ready().await;
    world
}

// What is made of one answer.

fn now() -> Moment {
    Moment { wall: Timestamp::parse("2026-11-22T10:00:00Z").unwrap(), elapsed: Duration::from_secs(9_000) }
}

fn answer(body: impl AsRef<[u8]>, date: Option<&str>) -> Answer {
    let mut headers = HeaderMap::new();
    date.into_iter().for_each(|date| drop(headers.insert(DATE, date.parse().unwrap())));
    Answer { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(body.as_ref()) }
}

fn read_with(body: impl AsRef<[u8]>, date: Option<&str>) -> Result<Profile, Failure> {
    let (user, tags) = (UserId::parse("u|1").unwrap(), TagKey::random().unwrap());
    let exchange = Timing { sent: now(), received: now() };
    match wire::parse_user(&answer(body, date), &user, exchange, &tags, &SourceOrders::default())? {
        UserAnswer::User(Some(profile), _) => Ok(profile),
        other => panic!("{other:?}"),
    }
}

fn read(body: impl AsRef<[u8]>) -> Result<Profile, Failure> {
    read_with(body, None)
}

/// Half an hour ago.
const LOGIN: &str = r#""2026-11-22T09:30:00.000Z""#;
