//! Compares what a client is told with what the providers know and with what was sent to them.

use std::time::Duration;

use cloakroom::cache::Served;
use cloakroom::domain::error::LookupError;
use cloakroom::domain::source::{OverReason, Source, SourceProblem};

use super::ledger::{End, Sent};
use super::plan::USERS;
use super::player::{Game, side};

pub type Outcome = Result<Served, LookupError>;

/// A request to Auth0 may have been under way for so long when a lookup joins it.
const UNDER_WAY: Duration = Duration::from_secs(15);

/// A lookup of one user.
#[derive(Clone, Copy)]
pub struct Asked {
    pub user: usize,
    /// When, on the elapsed clock.
    pub since: Duration,
    pub life: u64,
}

impl Asked {
    /// Which rule the outcome breaks.
    pub fn judge(self, game: &Game<'_>, outcome: Option<Outcome>) -> Result<(), String> {
        let Some(outcome) = outcome else { return Err(format!("{} waits for ever", self.name())) };
        let judged = match &outcome {
            Ok(served) => self.judge_token(game, served),
            Err(LookupError::LoginRequired { reason, .. }) => self.judge_over(game, *reason),
            Err(LookupError::Source(error)) => {
                let is_misconfigured = matches!(error.problem, SourceProblem::Misconfigured(_));
                game.tally.count(|tally| match is_misconfigured {
                    true => &tally.misconfigured,
                    false => &tally.unavailable,
                });
                Ok(())
            }
            Err(LookupError::Unavailable(_) | LookupError::RateLimited { .. }) => {
                game.tally.count(|tally| &tally.unavailable);
                Ok(())
            }
            Err(other) => Err(format!("nothing that Auth0 said leads to {other:?}")),
        };
        judged.map_err(|why| format!("{}: {why}", self.name()))
    }

    fn name(self) -> &'static str {
        USERS[self.user]
    }

    /// Guarantees 1 and 2 of what a source has issued.
    fn judge_token(self, game: &Game<'_>, served: &Served) -> Result<(), String> {
        let (_, token) = served.token();
        let text = token.access_token.expose();
        let mut ledger = game.line.ledger();
        let known = ledger.access.get(text).ok_or_else(|| format!("{text} was issued by nobody"))?.clone();
        if known.user != self.user {
            return Err(format!("{text} is of {}", USERS[known.user]));
        }
        let left = known.expires.saturating_sub(served.now.elapsed);
        if left.is_zero() || left < game.setup.min_ttl {
            return Err(format!("{text} has {left:?} left"));
        }
        if self.life == ledger.life && !ledger.has_handed_out(text) {
            ledger.handed_out.push(text.to_owned());
        }
        drop(ledger);
        game.truth().last[self.user] = Some((text.to_owned(), token.fingerprint, known.expires));
        game.tally.count(|tally| &tally.tokens);
        if token.source == Source::Refresh {
            game.tally.count(|tally| &tally.renewed);
        }
        Ok(())
    }

    /// Guarantee 10: a user is told to log in only where that is true, and for the reason that is.
    fn judge_over(self, game: &Game<'_>, reason: OverReason) -> Result<(), String> {
        let says = |why: &str| Err(format!("{} is said, and {why}", reason.as_str()));
        let (stored, provider) = (game.stored(self.user), game.provider(self.user));
        let (stored_since, accidents) = {
            let truth = game.truth();
            (truth.stored_since[self.user], truth.accidents)
        };
        let ledger = game.line.ledger();
        // A fact is remembered for a while, and may have been found out by a request that was under way.
        let is_settled = self.since >= stored_since + game.setup.login_required + UNDER_WAY;
        if let Some(stored) = stored.as_ref().filter(|_| is_settled) {
            let is_new = !ledger.has_sent(stored);
            if is_new && provider.is_redeemable(stored) {
                return says(&format!("Auth0 has {stored}, which was not redeemed"));
            }
        }

        let refused = ledger.of(self.user).rfind(|sent| sent.end == End::Dead);
        if refused.is_some_and(|refused| ledger.asked[self.user] < refused.ended) {
            return says("Auth0 was not asked after the refusal");
        }

        let answered = |sent: &&Sent| match &sent.end {
            End::Answered { access, .. } => ledger.has_handed_out(access),
            _ => false,
        };
        let last = ledger.of(self.user).rfind(answered);
        // A login since then has taken its place.
        let last = last.filter(|last| stored_since < last.at);
        if let Some(Sent { end: End::Answered { next, .. }, .. }) = last {
            // Without a file to rely on, only what invalidates its tokens is stored in any case.
            let is_kept = side(self.user) == 0 || accidents == 0;
            let sent = ledger.of_token(next);
            // Also before a crash: the refusal may be in the file.
            let is_refused = ledger.of(self.user).any(|sent| sent.token == *next && sent.end == End::Dead);
            let is_spent = sent.len() + accidents >= 2;
            if is_kept && provider.is_redeemable(next) && !is_refused && !is_spent {
                return says(&format!("{next} could be redeemed"));
            }
        }

        let (mut is_lost, mut is_refused) = (false, false);
        for sent in ledger.of(self.user) {
            let all = ledger.of_token(&sent.token);
            let open = all.iter().filter(|sent| sent.end == End::Unknown || sent.may_be_lost);
            is_lost |= open.count() + accidents >= 1 && all.len() + accidents >= 2;
            is_refused |= sent.end == End::Dead;
        }
        let holds = match reason {
            OverReason::RefreshLost => {
                game.tally.count(|tally| &tally.lost);
                side(self.user) == 0 && (is_lost || accidents >= 2)
            }
            OverReason::RefreshRefused => {
                game.tally.count(|tally| &tally.refused);
                is_refused
            }
            OverReason::Expired | OverReason::Reported => {
                game.tally.count(|tally| &tally.expired);
                let is_known = last.is_some() && (side(self.user) == 0 || accidents == 0);
                !is_known && (stored.is_none() || !is_settled)
            }
            OverReason::ReauthenticationRequired | OverReason::ConsentRequired => false,
        };
        match holds {
            true => Ok(()),
            false => {
                let sent: Vec<_> = ledger.of(self.user).map(|sent| (&sent.token, &sent.end)).collect();
                says(&format!("Auth0 stores {stored:?}, after {sent:?}"))
            }
        }
    }
}
