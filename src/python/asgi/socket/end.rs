//! How a WebSocket ended, as its app is told.

/// A status and a reason. What is noted first counts: a connection that breaks after the goodbye has ended as was said.
#[derive(Default)]
pub(super) struct End(Option<(u16, String)>);

impl End {
    pub(super) fn note(&mut self, code: u16, reason: &str) {
        self.0.get_or_insert_with(|| (code, reason.to_owned()));
    }

    pub(super) fn get(&self) -> Option<&(u16, String)> {
        self.0.as_ref()
    }
}
