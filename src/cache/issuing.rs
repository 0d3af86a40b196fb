//! Renewal flights: the sources of a connection are asked for a token when what Auth0 stores is over.

use std::sync::Arc;

use crate::domain::error::LookupError;
use crate::domain::freshness::Moment;
use crate::domain::priority::{Flow, Priority};
use crate::domain::user::UserId;
use crate::flight::{Flight, NoFlight};

use super::Cache;
use super::entry::Entry;
use super::fetch::lost_to_a_fault;
use super::issuer::Wanted;
use super::lookup::Lookup;
use super::renewal_landing::{RenewalLanding, Renewed};

/// How often the sources are asked for one lookup: once more after Auth0 was asked for a newer refresh token, and further
/// times if the answer was that to another lookup, for which Auth0 had been asked earlier.
const MOST_ROUNDS: usize = 6;

/// How many answers to earlier requests are passed over: an entry that has landed, and a flight under way; and again, if
/// the entry is replaced by what other accounts of the user are issued.
const MOST_EARLIER_ANSWERS: usize = 4;

impl Cache {
    /// What the sources have to be asked for `query`, whose answer `entry` lacks; `None` if Auth0 has to be asked, or
    /// if nothing has to be.
    pub(super) fn wanted<Q: Lookup>(&self, query: &Q, entry: &Entry, now: Moment) -> Option<Wanted> {
        let (selector, min_ttl) = query.token()?;
        entry.wanted(query.user(), selector, min_ttl, &self.rules(), now)
    }

    /// Whether `entry` is new enough that Auth0 need not be asked before the sources are.
    pub(super) fn is_recent(&self, entry: &Entry, now: Moment) -> bool {
        entry.sent().age(now) <= self.rules().terms.fresh_for && !entry.is_before_a_report()
    }

    /// `entry`, with a token of the sources if `query` needs one and they have one.
    pub(super) async fn renewed<Q: Lookup>(
        &self,
        query: &Q,
        flow: Flow,
        mut entry: Arc<Entry>,
    ) -> Result<Arc<Entry>, LookupError> {
        for round in 0..MOST_ROUNDS {
            if self.wanted(query, &entry, self.clock.now()).is_none() {
                return Ok(entry);
            }
            // Later rounds come after a request to Auth0.
            entry = self.issue(query, flow, &entry, round > 0).await?;
            let waits = query.token().and_then(|(selector, _)| entry.waits_for_auth0(selector));
            let Some(since) = waits else { return Ok(entry) };
            entry = self.ask_after(since, query, flow, entry).await?;
        }
        // What the entry says is not final.
        Err(LookupError::Overloaded)
    }

    /// Auth0's answer to a request that was sent at `since` or later. `entry` is older.
    async fn ask_after<Q: Lookup>(
        &self,
        since: Moment,
        query: &Q,
        flow: Flow,
        mut entry: Arc<Entry>,
    ) -> Result<Arc<Entry>, LookupError> {
        // What has landed meanwhile, or is under way, may have been sent before.
        for _ in 0..MOST_EARLIER_ANSWERS {
            entry = self.ask(flow, query.user(), Some(&entry), Priority::Caller).await?;
            if entry.sent().elapsed >= since.elapsed {
                break;
            }
        }
        Ok(entry)
    }

    /// Starts what is due while `entry` still answers `query`: a request to Auth0, to the sources, or both. No client
    /// waits for it.
    pub(super) fn renew_behind<Q: Lookup>(&self, query: &Q, flow: Flow, entry: &Arc<Entry>, now: Moment) {
        let rules = self.rules();
        let token = query.token();
        let is_old = rules.terms.refresh_after.is_some_and(|due| entry.sent().age(now) >= due);
        if is_old || token.is_some_and(|(selector, _)| entry.waits_for_auth0(selector).is_some()) {
            self.refresh_behind(flow, query.user(), entry, Priority::Ahead, now);
        }
        let wanted = token
            .filter(|_| rules.terms.refresh_after.is_some())
            .and_then(|(selector, _)| entry.wanted_ahead(query.user(), selector, &rules, now));
        if let Some(wanted) = wanted
            && self
                .fly_to_sources(flow, wanted.account, query.user(), false, |_| {
                    Ok((Arc::clone(entry), wanted))
                })
                .is_err()
        {
            tracing::trace!("Not renewed: there is no room to spare");
        }
    }

    /// Asks the sources, or joins the flight under way. `entry` is what they have to be asked for, and `is_confirmed` says
    /// whether Auth0 was asked for it on behalf of this lookup.
    async fn issue<Q: Lookup>(
        &self,
        query: &Q,
        flow: Flow,
        entry: &Arc<Entry>,
        is_confirmed: bool,
    ) -> Result<Arc<Entry>, LookupError> {
        loop {
            let now = self.clock.now();
            let Some(wanted) = self.wanted(query, entry, now) else { return Ok(Arc::clone(entry)) };
            let account = wanted.account;
            // With several threads a flight may have landed since the lookup read the cache.
            let begin = |cached: Option<Arc<Entry>>| {
                let newer =
                    cached.filter(|cached| !Arc::ptr_eq(cached, entry) && self.is_recent(cached, now));
                match newer {
                    None => Ok((Arc::clone(entry), wanted)),
                    Some(newer) => match self.wanted(query, &newer, now) {
                        Some(wanted) => Ok((newer, wanted)),
                        None => Err(newer),
                    },
                }
            };
            let flight = match self.fly_to_sources(flow, account, query.user(), is_confirmed, begin) {
                Ok(flight) => flight,
                Err(NoFlight::Refused(landed)) => return Ok(landed),
                Err(NoFlight::Full) => return Err(LookupError::Overloaded),
            };
            if flight.joined() {
                self.counters.flights_joined.add();
            }
            let too_old = flight.is_too_old();
            match flight.landed().await {
                // The flight began before a purge, and this lookup after it: try again.
                Some(_) if too_old => {}
                Some(Ok(entry)) => return Ok(entry),
                Some(Err(error)) => return Err(LookupError::Source(error)),
                None => return Err(lost_to_a_fault()),
            }
        }
    }

    /// Joins or starts the flight for `account` of `user`. `begin` is given the cached entry; it returns the entry that
    /// the answer is for and what is wanted, or the entry that makes a flight unnecessary. Unless that entry
    /// `is_confirmed`, a login may have followed it, so an old one leaves it open whether the user has to log in.
    fn fly_to_sources(
        &self,
        flow: Flow,
        account: u64,
        user: &UserId,
        is_confirmed: bool,
        begin: impl FnOnce(Option<Arc<Entry>>) -> Result<(Arc<Entry>, Wanted), Arc<Entry>>,
    ) -> Result<Flight<Renewed>, NoFlight<Arc<Entry>>> {
        self.renewals.join((user.clone(), account), flow, |obsolete, for_whom| {
            let (base, wanted) = begin(self.cached(user))?;
            let is_old = base.sent().age(self.clock.now()) >= self.rules().negative.login_required;
            let landing = RenewalLanding {
                user: user.clone(),
                account,
                connection: wanted.connection.as_str().into(),
                base,
                is_final: is_confirmed || !is_old,
                obsolete,
                store: self.store.clone(),
                refusals: self.refusals.clone(),
                clock: self.clock.clone(),
            };
            let issuing = self.issuer.issue(wanted, for_whom);
            Ok(async move { landing.land(issuing.await) })
        })
    }
}
