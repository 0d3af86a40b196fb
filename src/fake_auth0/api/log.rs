//! The log of a simulated API: each request exactly as it arrived, and how it ended.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::{Request, StatusCode};

use crate::domain::freshness::Moment;
use crate::fake_auth0::heads::Heads;

/// How many requests the log keeps. A demo may run for weeks; tests look at far fewer.
const KEPT: usize = 100_000;

/// One request that reached the API.
#[derive(Clone, Debug)]
pub struct ApiCall {
    /// When its head arrived, by the API's clock.
    pub at: Moment,
    /// The number of its connection, from 1; `None` without a socket.
    pub connection: Option<u64>,
    /// The method.
    pub method: String,
    /// The request target, byte for byte.
    pub target: Bytes,
    /// Names and values of all header fields in their order, byte for byte but for white space around a value. Without
    /// a socket, names are in lower case, and fields of one name stand together.
    pub fields: Vec<(String, Bytes)>,
    /// How many bytes of the body the API has read so far.
    pub body_bytes: u64,
    /// The SHA-256 of these bytes in hexadecimal, once the API reads no more of them.
    pub body_sha256: Option<String>,
    /// Whether the body came to its end.
    pub body_is_complete: bool,
    /// The status of the answer, once its head has been passed on.
    pub status: Option<StatusCode>,
    /// How many bytes of the answer's body have been passed on so far.
    pub answer_bytes: u64,
    /// When the answer was passed on to its end, or the API broke it off on purpose.
    pub ended_at: Option<Moment>,
    /// When the client closed the connection before the answer's end. Closing the port counts as well.
    pub closed_by_client_at: Option<Moment>,
}

impl ApiCall {
    /// The request target as text.
    pub fn target(&self) -> String {
        String::from_utf8_lossy(&self.target).into_owned()
    }

    /// The values of all fields of this name, in their order.
    pub fn all(&self, name: &str) -> Vec<String> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// The bearer token, if there is one.
    pub fn bearer(&self) -> Option<String> {
        let value = self.field("authorization")?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    }
}

/// A request's head, before it is logged.
pub(super) struct Arrival {
    connection: Option<u64>,
    method: String,
    target: Bytes,
    fields: Vec<(String, Bytes)>,
    /// Where the end of the body is noted.
    pub heads: Option<Heads>,
}

impl Arrival {
    /// The head of a request that came without a socket.
    pub fn parsed<B>(request: &Request<B>) -> Self {
        let fields = request.headers().iter();
        let fields = fields.map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes())));
        Self {
            connection: None,
            method: request.method().to_string(),
            target: request.uri().path_and_query().map_or("", |target| target.as_str()).to_owned().into(),
            fields: fields.collect(),
            heads: None,
        }
    }

    /// A head as it arrived on this connection.
    pub fn raw(head: &[u8], connection: Option<u64>, heads: &Heads) -> Self {
        let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        // A client may send empty lines before a request (RFC 9112 §2.2).
        let first = lines.by_ref().find(|line| !line.is_empty()).unwrap_or_default();
        let mut words = first.split(|&byte| byte == b' ');
        let method = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let target = Bytes::copy_from_slice(words.next().unwrap_or_default());
        let field = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            Some((String::from_utf8_lossy(name).into_owned(), Bytes::copy_from_slice(value)))
        };
        let fields = lines.filter_map(field).collect();
        Self { connection, method, target, fields, heads: Some(heads.clone()) }
    }
}

#[derive(Default)]
pub(super) struct Log {
    calls: BTreeMap<u64, ApiCall>,
    begun: u64,
}

impl Log {
    pub fn begin(&mut self, arrival: Arrival, at: Moment) -> u64 {
        self.begun += 1;
        let Arrival { connection, method, target, fields, .. } = arrival;
        let call = ApiCall {
            at,
            connection,
            method,
            target,
            fields,
            body_bytes: 0,
            body_sha256: None,
            body_is_complete: false,
            status: None,
            answer_bytes: 0,
            ended_at: None,
            closed_by_client_at: None,
        };
        self.calls.insert(self.begun, call);
        while self.calls.len() > KEPT {
            self.calls.pop_first();
        }
        self.begun
    }

    /// Changes the record of a request, unless it has been forgotten.
    pub fn note(&mut self, number: u64, change: impl FnOnce(&mut ApiCall)) {
        if let Some(call) = self.calls.get_mut(&number) {
            change(call);
        }
    }

    /// Notes that the client has closed this connection.
    pub fn hung_up(&mut self, connection: u64, now: Moment) {
        let of_it = self.calls.values_mut().filter(|call| call.connection == Some(connection));
        for call in of_it.filter(|call| call.ended_at.is_none()) {
            call.closed_by_client_at.get_or_insert(now);
        }
    }

    pub fn get(&self, number: u64) -> Option<&ApiCall> {
        self.calls.get(&number)
    }

    pub fn list(&self) -> Vec<ApiCall> {
        self.calls.values().cloned().collect()
    }

    pub fn forget(&mut self) {
        self.calls.clear();
    }
}
