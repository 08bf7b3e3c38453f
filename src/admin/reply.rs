//! What a handler makes of a request.

use serde::Serialize;
use serde_json::json;

use super::{
    link::{Answer, Order},
    situation::Situation,
};

/// A response, now or later.
pub(super) enum Reply {
    Now(Response),
    /// Give the order; what follows depends on the shell's answer.
    Later {
        order: Order,
        then: Then,
    },
    /// Lines of JSON as things happen.
    Follow(Box<dyn Follow>),
}

pub(super) type Then = Box<dyn FnOnce(Answer, &mut Situation<'_>) -> Reply + Send>;

/// Something whose course a client watches.
pub(super) trait Follow: Send {
    /// Appends what is new, each line with its line end. True: that was the last of it.
    ///
    /// Called whenever the view changed, and when the deadline has come.
    fn advance(&mut self, situation: &mut Situation<'_>, out: &mut Vec<u8>) -> bool;

    /// CLOCK_MONOTONIC nanoseconds at which it is to be called though nothing changed.
    fn deadline_ns(&self) -> u64;
}

/// A whole response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Beside those that every response has.
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Response {
    /// Ends with a line end, for terminals.
    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        // Fails only for maps whose keys are no texts, and there are none.
        let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
        body.push(b'\n');
        Self {
            status,
            content_type: "application/json",
            body,
            fields: Vec::new(),
        }
    }

    /// What went wrong, in a sentence, and how to mend it.
    pub(super) fn problem(status: u16, what: &str, help: &str) -> Self {
        Self::json(status, &json!({ "error": what, "help": help }))
    }

    pub(super) fn with_field(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}
