//! Simulated APIs of Google, Microsoft and GitHub beside the tenant, for `tenant_process.rs`.

use cloakroom::fake_auth0::api::{ApiCall, ApiDialect, ApiOptions, Canned, FakeApi};
use cloakroom::fake_auth0::{CertificateKind, Listening, Tenant};
use serde_json::{Value, json};

/// The APIs, each on a port of its own.
pub struct ProviderApis(Vec<(FakeApi, Listening, ApiDialect)>);

impl ProviderApis {
    /// Makes them listen.
    ///
    /// # Panics
    /// Outside a tokio runtime, or without a free port.
    pub fn listen(tenant: &Tenant) -> Self {
        let dialects = [ApiDialect::Google, ApiDialect::Microsoft, ApiDialect::GitHub];
        let apis = dialects.map(|dialect| {
            let api = FakeApi::beside(tenant, ApiOptions { dialect, ..ApiOptions::default() });
            let listening = api.listen(CertificateKind::Good).unwrap();
            (api, listening, dialect)
        });
        Self(apis.into())
    }

    /// The name of each, and its host with the port.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(_, listening, dialect)| (dialect.name(), listening.domain()))
    }

    /// The requests that have reached this one, as JSON. Forgets them.
    pub fn take_calls(&self, name: &str) -> Value {
        let api = self.named(name);
        let calls = api.calls().iter().map(in_json).collect();
        api.forget_calls();
        calls
    }

    /// Gives its next request this answer, after those of earlier calls.
    ///
    /// # Panics
    /// If `answer` is not JSON with a status, headers and a body.
    pub fn answer_next(&self, name: &str, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap().try_into().unwrap();
        let headers = answer["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| {
            // Names live as long as the process, which serves one test.
            let name: &'static str = name.clone().leak();
            (name, value.as_str().unwrap().to_owned())
        });
        let (headers, body) = (headers.collect(), answer["body"].as_str().unwrap().to_owned().into());
        self.named(name).answer_next(1, &Canned { status, headers, body });
    }

    fn named(&self, name: &str) -> &FakeApi {
        let named = self.0.iter().find(|(_, _, dialect)| dialect.name() == name);
        named.map(|(api, ..)| api).unwrap_or_else(|| panic!("no such API: {name}"))
    }
}

fn in_json(call: &ApiCall) -> Value {
    let fields = call.fields.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)]));
    json!({
        "method": call.method,
        "target": call.target(),
        "headers": fields.collect::<Vec<_>>(),
        "body_bytes": call.body_bytes,
        "body_sha256": call.body_sha256,
    })
}
