//! The requests and WebSockets whose app is suspended.

use pyo3::Python;

use super::super::party::Party;

/// Each has a place, which stays its own until it is taken; a connection's token leads there while its events do.
#[derive(Default)]
pub(super) struct Suspended {
    parties: Vec<Option<Party>>,
    free: Vec<usize>,
    /// By the low half of the token: the token, and the place.
    by_token: Vec<Option<(u64, usize)>>,
}

impl Suspended {
    pub(super) fn count(&self) -> usize {
        self.parties.len() - self.free.len()
    }

    /// Returns its place.
    pub(super) fn put(&mut self, party: Party) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.parties.push(None);
            self.parties.len() - 1
        });
        self.parties[place] = Some(party);
        place
    }

    pub(super) fn take(&mut self, place: usize) -> Option<Party> {
        let party = self.parties.get_mut(place)?.take();
        self.free.push(place);
        party
    }

    pub(super) fn set_token(&mut self, token: u64, place: usize) {
        let index = token as u32 as usize;
        if self.by_token.len() <= index {
            self.by_token.resize(index + 1, None);
        }
        self.by_token[index] = Some((token, place));
    }

    pub(super) fn forget_token(&mut self, token: u64) {
        if let Some(entry) = self.by_token.get_mut(token as u32 as usize)
            && entry.is_some_and(|(known, _)| known == token)
        {
            *entry = None;
        }
    }

    pub(super) fn find(&self, py: Python<'_>, token: u64) -> Option<Party> {
        let (known, place) = (*self.by_token.get(token as u32 as usize)?)?;
        if known != token {
            return None;
        }
        let party = self.parties.get(place)?.as_ref()?;
        Some(party.clone_ref(py))
    }

    pub(super) fn all(&self, py: Python<'_>) -> Vec<Party> {
        let parties = self.parties.iter().flatten();
        parties.map(|party| party.clone_ref(py)).collect()
    }
}
