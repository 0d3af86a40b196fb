//! Redemptions case by case. Random histories are in `model`.

use super::*;
use crate::domain::freshness::Timestamp;

mod model;
mod simulated_provider;

/// When the one retry after an unknown outcome in the first seconds is sent whatever the host does.
const LATER: u64 = 2 + RETRY_HELD.as_secs() + 10;

fn at(secs: u64) -> Moment {
    Moment { wall: Timestamp::from_secs(secs as i64), elapsed: Duration::from_secs(secs) }
}

fn terms(rotation: Rotation, grace: u64) -> Terms {
    Terms { client: "client".into(), rotation, grace: Duration::from_secs(grace), last_answer: None }
}

fn asked(token: Option<&str>, secs: u64) -> Asked {
    Asked { refresh_token: token.map(Secret::new), at: at(secs) }
}

fn issued(next: Option<&str>) -> Redemption {
    let token = IssuedToken {
        access_token: Secret::new("access"),
        expires_in: Some(Duration::from_secs(60)),
        scopes: None,
    };
    Redemption::Issued { token, refresh_token: next.map(Secret::new) }
}

fn failed(processed: Processed) -> Redemption {
    let failure = SourceFailure::TimedOut { host: "idp.example".into() };
    Redemption::Failed { failure, retry_after: Duration::from_secs(2), processed }
}

/// A step in a few words: what is stored or sent, or how the redemption ends.
fn shown(step: &Step) -> String {
    match step {
        Step::Store(storing) => {
            let Chain { token, attempts, refusal, .. } = storing.chain();
            let refusal = refusal.as_ref().map_or("", |refusal| refusal.reason.as_str());
            let kind = if storing.is_intent() { "intend" } else { "store" };
            format!("{kind} {} {attempts} {refusal}", token.expose()).trim_end().to_owned()
        }
        Step::Redeem(redeeming) => format!("redeem {}", redeeming.token().expose()),
        Step::End(Redeemed::Issued(_)) => "issued".to_owned(),
        Step::End(Redeemed::Over(reason)) => format!("over {}", reason.as_str()),
        Step::End(Redeemed::Failed { failure, .. }) => format!("failed: {failure}"),
        Step::End(other) => format!("{other:?}"),
    }
}

/// A store without faults, and the steps so far.
struct Run {
    terms: Terms,
    stored: Option<Chain>,
    steps: Vec<String>,
}

impl Run {
    fn new(terms: Terms) -> Self {
        Self { terms, stored: None, steps: Vec::new() }
    }

    /// Plays one redemption at this second, in which the provider gives these answers.
    fn play(
        &mut self,
        asked: Asked,
        secs: u64,
        answers: impl IntoIterator<Item = Redemption>,
    ) -> Vec<String> {
        let mut answers = answers.into_iter();
        let mut step = begin(self.stored.clone(), self.terms.clone(), asked, at(secs));
        loop {
            self.steps.push(shown(&step));
            step = match step {
                Step::Store(storing) => {
                    self.stored = Some(storing.chain().clone());
                    storing.stored()
                }
                Step::Redeem(redeeming) => redeeming.outcome(answers.next().expect("an answer"), at(secs)),
                Step::End(_) => return std::mem::take(&mut self.steps),
            };
        }
    }
}

#[test]
fn a_single_use_token_is_intended_redeemed_stored_and_handed_out_in_this_order() {
    let mut run = Run::new(terms(Rotation::Single, 0));
    let steps = run.play(asked(Some("r0"), 1), 2, [issued(Some("r1"))]);
    assert_eq!(steps, ["intend r0 1", "redeem r0", "store r1 0", "issued"]);
    let steps = run.play(asked(Some("r0"), 3), 4, [issued(Some("r2"))]);
    assert_eq!(steps, ["intend r1 1", "redeem r1", "store r2 0", "issued"]);
    assert_eq!(run.stored.unwrap().generation, 4);
}

#[test]
fn a_token_that_its_provider_keeps_is_stored_once_and_kept_over_a_login_that_brings_none() {
    for rotation in [Rotation::None, Rotation::KeepOld] {
        let mut run = Run::new(terms(rotation, 0));
        assert_eq!(run.play(asked(None, 1), 2, []), ["NoRefreshToken"]);
        let steps = run.play(asked(Some("r0"), 1), 2, [issued(None)]);
        assert_eq!(steps, ["redeem r0", "store r0 0", "issued"]);
        assert_eq!(run.play(asked(Some("r0"), 1), 2, [issued(None)]), ["redeem r0", "issued"]);
        assert_eq!(run.play(asked(Some("r0"), 1), 2, [issued(Some("r0"))]), ["redeem r0", "issued"]);
        assert_eq!(run.play(asked(None, 1), 2, [issued(None)]), ["redeem r0", "issued"]);
        let steps = run.play(asked(Some("r0"), 1), 2, [issued(Some("r1"))]);
        assert_eq!(steps, ["redeem r0", "store r1 0", "issued"]);
        assert_eq!(run.play(asked(None, 3), 4, [issued(None)]), ["redeem r1", "issued"]);
        let steps = run.play(asked(Some("r0"), 5), 6, [failed(Processed::Unknown)]);
        assert_eq!(steps[0], "redeem r1");
        assert_eq!(steps.len(), 2, "the caller tries again later");
    }
}

#[test]
fn an_absent_refresh_token_keeps_the_old_one() {
    let mut run = Run::new(terms(Rotation::Single, 0));
    for answer in [None, Some("r0")] {
        let steps = run.play(asked(Some("r0"), 1), 2, [issued(answer)]);
        assert_eq!(steps, ["intend r0 1", "redeem r0", "store r0 0", "issued"]);
    }
}

#[test]
fn a_login_with_another_token_replaces_the_chain_and_one_without_keeps_it() {
    let mut run = Run::new(terms(Rotation::Single, 0));
    run.play(asked(Some("r0"), 10), 11, [issued(Some("r1"))]);
    assert_eq!(run.play(asked(None, 12), 13, [issued(Some("r2"))])[1], "redeem r1");
    assert_eq!(run.play(asked(Some("r0"), 14), 15, [issued(Some("r3"))])[1], "redeem r2");
    assert_eq!(run.play(asked(Some("n0"), 16), 17, [issued(Some("n1"))])[1], "redeem n0");
    assert_eq!(run.play(asked(Some("r0"), 9), 18, [issued(Some("n2"))])[1], "redeem n1", "an older answer");
}

#[test]
fn a_refusal_is_final_once_auth0_was_asked_after_it_and_until_a_login() {
    for rotation in [Rotation::None, Rotation::KeepOld, Rotation::Single] {
        let mut run = Run::new(terms(rotation, 0));
        let steps = run.play(asked(Some("r0"), 1), 5, [Redemption::Over(OverReason::RefreshRefused)]);
        assert_eq!(steps.last().unwrap(), "AskAuth0");
        assert_eq!(run.play(asked(Some("r0"), 4), 6, []), ["AskAuth0"]);
        assert_eq!(run.play(asked(Some("r0"), 6), 7, []), ["over refresh_refused"]);
        assert_eq!(run.play(asked(None, 6), 7, []), ["over refresh_refused"]);
        assert_eq!(run.play(asked(Some("n0"), 8), 9, [issued(Some("n1"))]).last().unwrap(), "issued");
    }
}

/// A client id that was mistyped and corrected.
#[test]
fn a_refusal_of_another_client_is_no_refusal() {
    let mut run = Run::new(terms(Rotation::Single, 0));
    run.terms.client = "another client".into();
    run.play(asked(Some("r0"), 1), 2, [Redemption::Over(OverReason::RefreshRefused)]);
    run.terms.client = "client".into();
    assert_eq!(run.play(asked(Some("r0"), 3), 4, [issued(Some("r1"))]).last().unwrap(), "issued");
    assert_eq!(run.stored.unwrap().refusal, None);
}

#[test]
fn where_old_tokens_remain_valid_the_one_of_auth0_is_tried_after_ours() {
    let mut run = Run::new(terms(Rotation::KeepOld, 0));
    run.play(asked(Some("r0"), 1), 2, [issued(Some("r1"))]);
    let refused = || Redemption::Over(OverReason::RefreshRefused);
    let steps = run.play(asked(Some("r0"), 3), 4, [refused(), issued(None)]);
    assert_eq!(steps, ["redeem r1", "redeem r0", "store r0 0", "issued"]);
    run.play(asked(Some("r0"), 5), 6, [issued(Some("r2"))]);
    let steps = run.play(asked(Some("r0"), 7), 8, [refused(), refused()]);
    assert_eq!(steps, ["redeem r2", "redeem r0", "store r0 0 refresh_refused", "AskAuth0"]);
}

#[test]
fn reauthentication_and_consent_are_answered_for_a_while_and_then_asked_for_again() {
    for reason in [OverReason::ReauthenticationRequired, OverReason::ConsentRequired] {
        let mut run = Run::new(terms(Rotation::Single, 0));
        let over = || Redemption::Over(reason);
        let steps = run.play(asked(Some("r0"), 1), 2, [over()]);
        assert_eq!(steps[2..], [format!("store r0 0 {}", reason.as_str()), "AskAuth0".to_owned()]);
        assert_eq!(run.play(asked(Some("r0"), 3), 601, []), [format!("over {}", reason.as_str())]);
        assert_eq!(run.play(asked(Some("r0"), 3), 602, [issued(Some("r1"))]).last().unwrap(), "issued");
    }
}

#[test]
fn what_had_no_effect_leaves_no_attempt_behind() {
    let fault = Redemption::Misconfigured(SourceFault::ProviderClient);
    for answer in [fault, failed(Processed::No)] {
        let mut run = Run::new(terms(Rotation::Single, 0));
        let steps = run.play(asked(Some("r0"), 1), 2, [answer.clone()]);
        assert_eq!(steps[..3], ["intend r0 1", "redeem r0", "store r0 0"]);
        run.play(asked(Some("r0"), 3), 4, [failed(Processed::Unknown)]);
        let steps = run.play(asked(Some("r0"), 5), LATER, [answer]);
        assert_eq!(steps[..3], ["intend r0 2", "redeem r0", "store r0 1"], "the attempt before counts");
        let steps = run.play(asked(Some("r0"), 7), LATER + 1, [issued(Some("r1"))]);
        assert_eq!(steps, ["intend r0 2", "redeem r0", "store r1 0", "issued"]);
    }
}

#[test]
fn after_an_unknown_outcome_there_is_one_retry() {
    let unknown = || failed(Processed::Unknown);
    let begin = |run: &mut Run| run.play(asked(Some("r0"), 1), 2, [unknown()]);
    let end = "failed: idp.example did not answer in time";

    let mut run = Run::new(terms(Rotation::Single, 0));
    assert_eq!(begin(&mut run), ["intend r0 1", "redeem r0", end]);
    let steps = run.play(asked(Some("r0"), 3), LATER, [issued(Some("r1"))]);
    assert_eq!(steps, ["intend r0 2", "redeem r0", "store r1 0", "issued"]);

    let lost = ["intend r0 2", "redeem r0", "store r0 2 refresh_lost", "AskAuth0"];
    for answer in [unknown(), Redemption::Over(OverReason::RefreshRefused)] {
        let mut run = Run::new(terms(Rotation::Single, 0));
        begin(&mut run);
        assert_eq!(run.play(asked(Some("r0"), 3), LATER, [answer]), lost);
        let asked_again = || asked(Some("r0"), LATER + 1);
        assert_eq!(run.play(asked_again(), LATER + 2, []), ["over refresh_lost"]);
        run.terms.client = "another client".into();
        assert_eq!(
            run.play(asked_again(), LATER + 2, []),
            ["over refresh_lost"],
            "it is not tried a third time"
        );
        assert_eq!(
            run.play(asked(Some("n0"), LATER + 3), LATER + 4, [issued(None)]).last().unwrap(),
            "issued"
        );
    }
}

#[test]
fn the_retry_is_sent_at_once_if_a_later_one_were_too_late() {
    let steps = |grace: u64| {
        let (failure, retry_after) =
            (SourceFailure::TimedOut { host: "idp.example".into() }, Duration::from_secs(5));
        let unknown = Redemption::Failed { failure, retry_after, processed: Processed::Unknown };
        let mut run = Run::new(terms(Rotation::Single, grace));
        run.play(asked(Some("r0"), 1), 2, [unknown, issued(Some("r1"))])
    };
    assert_eq!(steps(5), ["intend r0 1", "redeem r0", "intend r0 2", "redeem r0", "store r1 0", "issued"]);
    assert_eq!((steps(6).len(), steps(0).len()), (3, 3));
}

/// A provider that fails for some seconds must not cost a token that is valid.
#[test]
fn the_retry_waits_until_the_host_answers_others_or_for_minutes() {
    let is_sent = |grace: u64, last_answer: Option<u64>, secs: u64| {
        let mut run = Run::new(terms(Rotation::Single, grace));
        run.play(asked(Some("r0"), 1), 2, [failed(Processed::Unknown)]);
        run.terms.last_answer = last_answer.map(Duration::from_secs);
        let steps = run.play(asked(Some("r0"), 3), secs, [issued(Some("r1"))]);
        let waits = steps == [format!("failed: {}", SourceFailure::Unsettled)];
        assert!(waits || steps[0] == "intend r0 2", "{steps:?}");
        !waits
    };
    let held = RETRY_HELD.as_secs();
    assert!(!is_sent(0, None, 3) && !is_sent(0, None, 1 + held) && is_sent(0, None, 2 + held));
    assert!(!is_sent(0, Some(1), 5) && !is_sent(0, Some(2), 5), "an answer from before");
    assert!(is_sent(0, Some(4), 5));
    // Within the second half of a grace, and not just after it.
    assert!(!is_sent(30, None, 16) && is_sent(30, None, 17) && is_sent(30, None, 31));
    assert!(!is_sent(30, None, 33) && is_sent(30, None, 2 + held));
    assert!(!is_sent(1_800, None, 1 + held) && is_sent(1_800, None, 2 + held));
}

/// A wait that the cache would keep to, while another user's request may end it at any time.
#[test]
fn a_retry_that_waits_is_asked_for_again_soon() {
    let mut run = Run::new(terms(Rotation::Single, 0));
    run.play(asked(Some("r0"), 1), 2, [failed(Processed::Unknown)]);
    let wait = |secs| match begin(run.stored.clone(), run.terms.clone(), asked(Some("r0"), 3), at(secs)) {
        Step::End(Redeemed::Failed { retry_after, .. }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!((wait(3), wait(1 + RETRY_HELD.as_secs())), (10, 1));
}

#[test]
fn a_crash_during_a_redemption_counts_as_an_unknown_outcome() {
    let mut run = Run::new(terms(Rotation::Single, 0));
    let begun = |stored: &Option<Chain>| {
        begin(stored.clone(), terms(Rotation::Single, 0), asked(Some("r0"), 1), at(2))
    };
    for (attempt, shown_as) in [(1, "intend r0 1"), (2, "intend r0 2")] {
        let step = begun(&run.stored);
        assert_eq!(shown(&step), shown_as);
        let Step::Store(storing) = step else { panic!("an intent") };
        assert_eq!(storing.chain().attempts, attempt);
        // Moments of an earlier run are zero.
        run.stored = Some(Chain { sent: Duration::ZERO, ..storing.chain().clone() });
    }
    assert_eq!(run.play(asked(Some("r0"), 3), 4, []), ["store r0 2 refresh_lost", "AskAuth0"]);
}

#[test]
fn nothing_is_sent_whose_intent_is_not_stored_and_nothing_handed_out_whose_result_is_not() {
    let fails = |step: Step| match step {
        Step::Store(storing) => shown(&storing.failed()),
        other => panic!("{other:?}"),
    };
    let redeems = |step: Step| match step {
        Step::Redeem(redeeming) => redeeming,
        other => panic!("{other:?}"),
    };
    let first = |rotation| begin(None, terms(rotation, 0), asked(Some("r0"), 1), at(2));
    let unstored = format!("failed: {}", SourceFailure::State);
    assert_eq!(fails(first(Rotation::Single)), unstored);
    let Step::Store(intent) = first(Rotation::Single) else { panic!("an intent") };
    assert_eq!(fails(redeems(intent.stored()).outcome(issued(Some("r1")), at(3))), unstored);
    assert_eq!(fails(redeems(first(Rotation::KeepOld)).outcome(issued(Some("r1")), at(3))), "issued");
}

#[test]
fn a_chain_that_was_forgotten_meanwhile_is_not_stored() {
    let Step::Store(intent) = begin(None, terms(Rotation::Single, 0), asked(Some("r0"), 1), at(2)) else {
        panic!("an intent")
    };
    assert_eq!(shown(&intent.forgotten()), "AskAuth0");
    let Step::Redeem(redeeming) = begin(None, terms(Rotation::KeepOld, 0), asked(Some("r0"), 1), at(2))
    else {
        panic!("no intent")
    };
    let Step::Store(result) = redeeming.outcome(issued(Some("r1")), at(3)) else { panic!("a result") };
    assert_eq!(shown(&result.forgotten()), "issued");
}
