//! What becomes known of a proxied call from its answer's head to its body's end: for the audit log and for metrics.
//!
//! A call ends when its body does. Its record is written when it is dropped, so that a client that leaves has a line as
//! well. What the client has sent until then is not awaited.

use std::sync::Arc;
use std::time::Duration;

use crate::api::audit::{AuditRecord, ProxiedEnd};
use crate::api::peer::Peer;
use crate::api::request_id::RequestId;
use crate::api::response::BrokenStream;
use crate::api::route::RouteSpec;
use crate::api::state::Services;
use crate::api::streams::StreamPermit;
use crate::domain::freshness::Moment;
use crate::telemetry::audit::{CallEvent, TraceId};

use super::upload::Upload;

/// The record of a call whose answer's head has come from the provider.
pub struct CallRecord {
    parts: Option<RecordParts>,
    received: u64,
    end: CallEnd,
}

/// What a record consists of when the answer's head is handed on.
pub struct RecordParts {
    pub services: Arc<Services>,
    pub peer: Arc<Peer>,
    pub spec: &'static RouteSpec,
    pub audit: AuditRecord,
    pub call: CallEvent,
    pub status: u16,
    pub request_id: RequestId,
    pub trace: Option<TraceId>,
    pub begun: Moment,
    pub upload: Upload,
    /// The call's place among those under way.
    pub permit: StreamPermit,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// The client has left, or the daemon has ended, before the body's end.
    Left,
    /// The whole answer was handed on.
    Whole,
    /// The answer was broken off.
    Broken(BrokenStream),
}

impl CallEnd {
    /// The name in audit lines and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Whole => "whole",
            Self::Broken(BrokenStream::Cut) => "cut_short",
            Self::Broken(BrokenStream::Idle) => "silent",
            Self::Broken(BrokenStream::TooLarge) => "too_large",
        }
    }
}

impl CallRecord {
    /// A record of a call, of which nothing was received besides the head.
    pub fn new(parts: RecordParts) -> Self {
        Self { parts: Some(parts), received: 0, end: CallEnd::Left }
    }

    /// Counts bytes of the answer's body.
    pub fn received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Notes that the whole body was handed on.
    pub fn complete(&mut self) {
        self.end = CallEnd::Whole;
    }

    /// Notes why the body is broken off.
    pub fn broken(&mut self, why: BrokenStream) -> BrokenStream {
        self.end = CallEnd::Broken(why);
        why
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let RecordParts {
            services,
            peer,
            spec,
            audit,
            mut call,
            status,
            request_id,
            trace,
            begun,
            upload,
            permit,
        } = parts;
        drop(permit);
        call.end = self.end.as_str();
        (call.sent, call.received) = (upload.sent(), self.received);
        services.counters.calls.ended(&call, Some(status));
        let took: Duration = services.clock.since(begun);
        audit.end_proxied(
            &services,
            &peer,
            ProxiedEnd { operation: spec.operation, status: Some(status), call, request_id, trace, took },
        );
    }
}
