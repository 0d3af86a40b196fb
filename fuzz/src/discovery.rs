//! The discovery document of a tenant, which says where a client's certificate is presented.

use cloakroom::upstream::discovery;
use hyper::StatusCode;
use hyper::Uri;
use serde_json::Value;

use crate::upstream::{Input, tells_nothing, text};

/// The issuer that is asked for.
const ISSUER: &str = "https://tenant.example/";

/// An answer to a request for the document.
pub fn read(data: &[u8]) {
    let Input { answer, .. } = Input::read(data);
    let url = match discovery::parse(&answer, ISSUER) {
        Ok(Some(url)) => url,
        Ok(None) => return assert_eq!(answer.status, StatusCode::OK),
        Err(failure) => return tells_nothing(&failure),
    };
    assert_eq!(answer.status, StatusCode::OK);
    let uri: Uri = url.parse().unwrap();
    assert_eq!(uri.scheme_str(), Some("https"), "{url}");
    assert!(uri.host().is_some_and(|host| !host.is_empty()) && uri.path().len() > 1, "{url}");
    assert!(!uri.authority().unwrap().as_str().contains('@') && !url.contains(['?', '#']), "{url}");
    // What no type of JSON holds is skipped where it stands in what is not read.
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else { return };
    assert_eq!(text(&body["issuer"]).as_deref(), Some(ISSUER), "{body}");
    assert_eq!(text(&body["mtls_endpoint_aliases"]["token_endpoint"]).as_deref(), Some(&*url), "{body}");
}
