//! Keys that are rotated, and clocks that differ.

use std::time::Duration;

use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{ClientKeyPair, KeyUse};

use super::{Outcome, World, signing_key, token};

/// What an operator does to rotate the key number 0 to the key number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Register(KeyUse),
    Remove(KeyUse),
    /// Adds the new key to the daemon's configuration, as the next one.
    Configure,
    /// Removes the old key from the daemon's configuration.
    Settle,
}

use Action::{Configure, Register, Remove, Settle};
use KeyUse::{Authentication, TokenVault};

const ACTIONS: [Action; 6] = [
    Configure,
    Register(Authentication),
    Register(TokenVault),
    Remove(Authentication),
    Remove(TokenVault),
    Settle,
];

/// Every order in which no use is ever without a key that both sides have.
fn orders() -> Vec<Vec<Action>> {
    let mut orders = vec![Vec::new()];
    for _ in ACTIONS {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<Action>| {
                let next =
                    ACTIONS.into_iter().filter(|action| is_possible(&order, *action)).collect::<Vec<_>>();
                next.into_iter().map(move |action| [order.as_slice(), &[action]].concat())
            })
            .collect();
    }
    orders
}

fn is_possible(done: &[Action], action: Action) -> bool {
    let is_done = |action: Action| done.contains(&action);
    let needs: &[Action] = match action {
        Configure | Register(_) => &[],
        Remove(Authentication) => &[Configure, Register(Authentication)],
        Remove(TokenVault) => &[Configure, Register(TokenVault)],
        Settle => &[Configure, Register(Authentication), Register(TokenVault)],
    };
    !is_done(action) && needs.iter().all(|need| is_done(*need))
}

#[tokio::test(start_paused = true)]
async fn a_key_is_rotated_without_a_gap_in_every_order() {
    let orders = orders();
    assert!(orders.len() >= 40, "{}", orders.len());
    for order in orders {
        let world = World::new("");
        assert_eq!(world.exchange().await, token(1));
        for (at, action) in order.iter().enumerate() {
            match action {
                Register(purpose) => {
                    let public = &ClientKeyPair::shared(1).unwrap().public_pem;
                    world.tenant.register_key(*purpose, public, "RS256").unwrap();
                }
                Remove(purpose) => world.tenant.remove_key(*purpose, signing_key(0).kid()),
                Configure => world.reload(&[1, 0], None),
                Settle => world.reload(&[1], None),
            }
            let (found, first) = world.cost(world.exchange()).await;
            assert_eq!(found, token(1), "{order:?} after {}", at + 1);
            assert!(first <= 4, "{order:?} after {}: {first} requests", at + 1);
            let (_, later) = world.cost(world.exchange()).await;
            assert_eq!(later, 1, "{order:?} after {}: what was accepted is remembered", at + 1);
        }
    }
}

/// Without `next_key_file`: what Auth0 has accepted stays in use until it accepts what has replaced it.
#[tokio::test(start_paused = true)]
async fn the_key_of_subject_tokens_may_be_another_one_and_is_replaced_without_a_gap() {
    let public = |index: usize| ClientKeyPair::shared(index).unwrap().public_pem.clone();
    for registers_first in [true, false] {
        let world = World::new("");
        world.tenant.register_key(TokenVault, &public(1), "RS256").unwrap();
        world.tenant.remove_key(TokenVault, signing_key(0).kid());
        assert!(
            matches!(world.exchange().await, Outcome::Fault(_)),
            "the client's key is for authentication only"
        );
        world.reload(&[0], Some(1));
        assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
        if registers_first {
            world.tenant.register_key(TokenVault, &public(2), "RS256").unwrap();
            assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
            world.reload(&[0], Some(2));
            assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
        } else {
            world.reload(&[0], Some(2));
            assert_eq!(world.cost(world.exchange()).await, (token(1), 2));
            assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
            world.tenant.register_key(TokenVault, &public(2), "RS256").unwrap();
        }
        world.tenant.remove_key(TokenVault, signing_key(1).kid());
        assert_eq!(world.exchange().await, token(1));
        assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_local_clock_that_is_wrong_costs_one_request_at_most() {
    for (offset, cost) in [(0_i64, 1), (-120, 2), (120, 2), (-86_400, 2), (86_400, 2)] {
        let world = World::new("");
        let now = world.clocks[1].now().wall.as_secs();
        world.clocks[0].step_wall(Timestamp::from_secs(now + offset));
        let (found, calls) = world.cost(world.exchange()).await;
        assert_eq!((found, calls), (token(1), cost), "{offset}");
        world.pass(Duration::from_secs(600));
        assert_eq!(world.cost(world.exchange()).await, (token(1), 1), "{offset}");
        // A clock that is stepped later makes no difference, since Auth0's is known.
        world.clocks[0].step_wall(Timestamp::from_secs(now + 3 * offset));
        assert_eq!(world.cost(world.exchange()).await, (token(1), 1), "{offset}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subject_token_is_dated_when_it_is_sent_and_not_when_the_exchange_began() {
    let world = World::new("requests_per_second = 0.1\nburst = 2");
    // Three requests at one in ten seconds: the third waits for longer than `tenant.request_timeout` allows.
    for _ in 0..2 {
        assert_eq!(world.exchange().await, token(1));
    }
    assert!(matches!(world.exchange().await, Outcome::Failure(_)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.exchange().await, token(1));
    assert!(world.tenant.exchanges().iter().all(|exchange| exchange.refused.is_none()));
}
