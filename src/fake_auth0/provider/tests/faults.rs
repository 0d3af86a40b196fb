//! Faults: what a client sees, and what the provider has done.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failure_before_processing_redeems_nothing_and_one_after_it_loses_the_answer() {
    for (breakdown, delivery, answer) in [
        (Breakdown::Status(502, WaitHint::None), Delivery::Whole, Answered::Failure(StatusCode::BAD_GATEWAY)),
        (Breakdown::Stall, Delivery::HeadersStall, Answered::Nothing),
        (Breakdown::Close, Delivery::Closed, Answered::Nothing),
        (Breakdown::Reset, Delivery::ResetMidway, Answered::Nothing),
        (Breakdown::Truncate, Delivery::Truncated, Answered::Nothing),
        (Breakdown::StallBody, Delivery::BodyStalls, Answered::Nothing),
        (
            Breakdown::Redirect("https://elsewhere.example/".into()),
            Delivery::Whole,
            Answered::Failure(StatusCode::FOUND),
        ),
        (Breakdown::Html200, Delivery::Whole, Answered::Failure(StatusCode::OK)),
        (Breakdown::Empty200, Delivery::Whole, Answered::Failure(StatusCode::OK)),
        (Breakdown::Says(403, "{}".into()), Delivery::Whole, Answered::Failure(StatusCode::FORBIDDEN)),
        (Breakdown::ErrorObject, Delivery::Whole, Answered::Failure(StatusCode::BAD_REQUEST)),
    ] {
        let provider = provider(Dialect::OAuth2);
        let consent = provider.consent(USER);
        provider.fault_next(1, ProviderFault::Before(breakdown.clone()));
        provider.fault_next(1, ProviderFault::After(breakdown.clone()));
        for processed in [false, true] {
            let reply = redeem(&provider, &consent.refresh_token).await;
            assert_eq!(reply.delivery, delivery, "{breakdown:?}");
            assert_eq!(log(&provider).pop(), Some((Some(0), processed, answer)), "{breakdown:?}");
            assert_eq!(provider.is_redeemable(&consent.refresh_token), !processed, "{breakdown:?}");
            if delivery == Delivery::Whole {
                let text = String::from_utf8_lossy(reply.response.body()).into_owned();
                assert!(!text.contains("demo-oauth2"), "{breakdown:?} shows no token: {text}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_slow_or_large_arrives() {
    let provider = provider(Dialect::Google);
    let consent = provider.consent(USER);
    for (breakdown, delivery) in [
        (Breakdown::Drip(SECOND), Delivery::Dripping(SECOND)),
        (Breakdown::Padded(1 << 20), Delivery::Whole),
        (Breakdown::Crumbs(1_000), Delivery::Whole),
    ] {
        provider.fault_next(1, ProviderFault::After(breakdown.clone()));
        let reply = redeem(&provider, &consent.refresh_token).await;
        assert_eq!((reply.delivery, status(&reply)), (delivery, 200));
        assert!(body(&reply)["access_token"].is_string(), "{breakdown:?}");
        let is_padded = reply.response.body().len() == 1 << 20;
        assert_eq!(is_padded, matches!(breakdown, Breakdown::Padded(_)));
        assert_eq!(log(&provider).pop(), Some((Some(0), true, Answered::Token)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_states_when_to_return() {
    let provider = provider(Dialect::Google);
    let consent = provider.consent(USER);
    for (hint, expected) in [
        (WaitHint::Seconds(7), Some("7")),
        (WaitHint::Date(SECOND * 60), Some("Fri, 15 Jan 2027 08:01:00 GMT")),
        (WaitHint::None, None),
    ] {
        provider.fault_next(1, ProviderFault::Before(Breakdown::Status(429, hint)));
        let reply = redeem(&provider, &consent.refresh_token).await;
        let stated = reply.response.headers().get(header::RETRY_AFTER);
        assert_eq!((status(&reply), stated.map(|value| value.to_str().unwrap())), (429, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_on_request_are_told_apart_by_what_clients_can_read() {
    for (dialect, refused, expected) in [
        (Dialect::Google, Refused::RaptRequired, ("invalid_grant", "error_subtype", "rapt_required")),
        (Dialect::Google, Refused::InvalidRapt, ("invalid_grant", "error_subtype", "invalid_rapt")),
        (Dialect::Microsoft, Refused::ConsentRequired, ("consent_required", "suberror", "")),
        (Dialect::Microsoft, Refused::ConsentSuberror, ("invalid_grant", "suberror", "consent_required")),
        (Dialect::Microsoft, Refused::InteractionRequired, ("interaction_required", "suberror", "")),
        (Dialect::Microsoft, Refused::BasicAction, ("invalid_grant", "suberror", "basic_action")),
        (Dialect::Microsoft, Refused::InvalidScope, ("invalid_scope", "suberror", "")),
        (Dialect::OAuth2, Refused::UnauthorizedClient, ("unauthorized_client", "error_subtype", "")),
    ] {
        let provider = provider(dialect);
        let consent = provider.consent(USER);
        provider.fault_next(1, ProviderFault::Refused(refused));
        let reply = redeem(&provider, &consent.refresh_token).await;
        let body = body(&reply);
        let (code, name, value) = expected;
        let seen = (body["error"].as_str().unwrap(), name, body[name].as_str().unwrap_or_default());
        assert_eq!((status(&reply), seen), (400, (code, name, value)), "{refused:?}");
        assert!(provider.is_redeemable(&consent.refresh_token), "nothing is processed");
    }
    for dialect in Dialect::ALL {
        for refused in Refused::ALL {
            let (response, code) =
                refusals::refusal(dialect, refused, provider(Dialect::OAuth2).0.clock.now());
            let text = String::from_utf8(response.body().to_vec()).unwrap();
            assert!(
                text.contains(code) || response.status().as_str() == code,
                "{dialect:?} {refused:?}: {text}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_genuine_answer_is_changed_as_asked() {
    let provider = provider(Dialect::OAuth2);
    let changed = async |change: Change| {
        let consent = provider.consent(USER);
        provider.fault_next(1, ProviderFault::Changed(change));
        let reply = redeem(&provider, &consent.refresh_token).await;
        assert_eq!(status(&reply), 200);
        (reply, consent.refresh_token)
    };
    for (kind, expected) in [
        (ExpiresIn::Zero, Some("0")),
        (ExpiresIn::Negative, Some("-1")),
        (ExpiresIn::Missing, None),
        (ExpiresIn::Text, Some("\"3600\"")),
        (ExpiresIn::Huge, Some("1e+18")),
    ] {
        let (reply, _) = changed(Change::ExpiresIn(kind)).await;
        let stated = body(&reply).get("expires_in").map(Value::to_string);
        assert_eq!(stated.as_deref(), expected, "{kind:?}");
    }
    for change in [Change::NoRefreshToken, Change::SameRefreshToken] {
        let (reply, redeemed) = changed(change).await;
        let stated = body(&reply).get("refresh_token").and_then(Value::as_str).map(str::to_owned);
        assert_eq!(stated, (change == Change::SameRefreshToken).then(|| redeemed.clone()));
        assert!(provider.is_redeemable(&redeemed), "{change:?}: it stays valid");
    }
    assert_eq!(body(&changed(Change::CommaScopes).await.0)["scope"], "profile,documents");
    let renamed = body(&changed(Change::ScopesMember).await.0);
    assert_eq!((&renamed["scopes"], renamed.get("scope")), (&"profile documents".into(), None));
    assert_eq!(body(&changed(Change::NoScope).await.0).get("scope"), None);
    assert_eq!(body(&changed(Change::NoAccessToken).await.0).get("access_token"), None);
    let (reply, redeemed) = changed(Change::AuthedUser).await;
    let inner = body(&reply)["authed_user"].clone();
    assert!(provider.is_alive(inner["access_token"].as_str().unwrap()));
    assert_eq!((&inner["expires_in"], body(&reply).get("access_token")), (&3_600.into(), None));
    assert!(!provider.is_redeemable(&redeemed));
    let (reply, _) = changed(Change::PlainText).await;
    assert_eq!(reply.response.headers()[header::CONTENT_TYPE], "text/plain");
    assert!(body(&reply)["access_token"].is_string());
}

#[tokio::test(start_paused = true)]
async fn the_next_requests_fail_in_order_and_those_of_one_user_first() {
    let provider = provider(Dialect::Google);
    let (one, other) = (provider.consent("one"), provider.consent("other"));
    let page = |status| ProviderFault::Before(Breakdown::Status(status, WaitHint::None));
    provider.fault_next(2, page(500));
    provider.fault_next(0, page(501));
    provider.fault_next(1, page(502));
    provider.fault_next_of("other", 1, page(503));
    let mut statuses = Vec::new();
    for token in [&one, &other, &other, &one] {
        statuses.push(status(&redeem(&provider, &token.refresh_token).await));
    }
    assert_eq!(statuses, [500, 503, 502, 200]);
    provider.fault(page(504));
    assert_eq!(status(&redeem(&provider, &one.refresh_token).await), 504);
    provider.clear();
    assert_eq!(status(&redeem(&provider, &one.refresh_token).await), 200);
    assert_eq!(provider.redemptions_of("other").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_nothing_arrives() {
    let provider = provider(Dialect::Google);
    let consent = provider.consent(USER);
    provider.refuse_connections(true);
    assert_eq!(redeem(&provider, &consent.refresh_token).await.delivery, Delivery::Refused);
    provider.refuse_connections(false);
    for (handshake, delivery) in
        [(Handshake::Closed, Delivery::Refused), (Handshake::Stalled, Delivery::HeadersStall)]
    {
        provider.set_handshake(handshake);
        assert_eq!(redeem(&provider, &consent.refresh_token).await.delivery, delivery);
    }
    assert_eq!(provider.redemptions(), []);
    provider.clear();
    assert_eq!(status(&redeem(&provider, &consent.refresh_token).await), 200);
}
