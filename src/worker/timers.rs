//! Deadlines of connections: a ring of coarse buckets, visited lazily.
//!
//! A connection stands in the ring once, at or before its deadline. Moving the deadline later, which happens with every
//! request, touches nothing here: when the bucket comes up, the reactor looks at the true deadline and puts the
//! connection back. So the hot path pays one store and the ring pays one visit per connection and deadline.

/// Milliseconds a bucket spans; a deadline may fire this much late.
const BUCKET_MS: u64 = 128;
/// Buckets in the ring; a later deadline is looked at when the ring's end comes up, and put back.
const BUCKETS: usize = 512;

/// What a worker waits for, by token.
pub(super) struct Timers {
    buckets: Box<[Vec<u64>]>,
    /// The first bucket (counted from time zero) that was not visited yet.
    current: u64,
    /// No bucket before this one holds anything.
    earliest: u64,
}

impl Timers {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            buckets: vec![Vec::new(); BUCKETS].into_boxed_slice(),
            current: now_ms / BUCKET_MS,
            earliest: u64::MAX,
        }
    }

    /// Puts a token where it comes up after `deadline_ms`, or earlier if that is beyond the ring. Returns the bucket,
    /// by which the caller knows a visit that counts from one that was overtaken.
    pub(super) fn insert(&mut self, token: u64, deadline_ms: u64) -> u64 {
        let last = self.current + BUCKETS as u64 - 1;
        let bucket = (deadline_ms / BUCKET_MS + 1).clamp(self.current, last);
        self.buckets[bucket as usize % BUCKETS].push(token);
        self.earliest = self.earliest.min(bucket);
        bucket
    }

    /// The bucket in which a deadline would come up.
    pub(super) fn bucket_of(deadline_ms: u64) -> u64 {
        deadline_ms / BUCKET_MS + 1
    }

    /// Takes the tokens of one bucket whose time has come, with the bucket. Call until `None`.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<(u64, Vec<u64>)> {
        let now = now_ms / BUCKET_MS;
        while self.current <= now {
            let bucket = self.current;
            self.current += 1;
            let due = std::mem::take(&mut self.buckets[bucket as usize % BUCKETS]);
            if !due.is_empty() {
                self.earliest = self.find_earliest();
                return Some((bucket, due));
            }
        }
        None
    }

    /// Milliseconds until a bucket comes up; `None` when nothing is waited for.
    pub(super) fn next_in_ms(&self, now_ms: u64) -> Option<u64> {
        (self.earliest != u64::MAX).then(|| (self.earliest * BUCKET_MS).saturating_sub(now_ms))
    }

    fn find_earliest(&self) -> u64 {
        let ahead = self.current..self.current + BUCKETS as u64;
        let mut occupied =
            ahead.filter(|bucket| !self.buckets[*bucket as usize % BUCKETS].is_empty());
        occupied.next().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(timers: &mut Timers, now_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| timers.expire(now_ms))
            .flat_map(|(_, tokens)| tokens)
            .collect()
    }

    #[test]
    fn a_token_comes_up_after_its_deadline_and_once() {
        let mut timers = Timers::new(10_000);
        timers.insert(7, 11_000);
        assert!(expired(&mut timers, 10_999).is_empty());
        assert_eq!(expired(&mut timers, 11_000 + 2 * BUCKET_MS), [7]);
        assert!(expired(&mut timers, 60_000).is_empty());
    }

    #[test]
    fn a_deadline_beyond_the_ring_comes_up_at_its_end() {
        let mut timers = Timers::new(0);
        timers.insert(1, 10_000_000);
        assert_eq!(expired(&mut timers, BUCKETS as u64 * BUCKET_MS), [1]);
    }

    #[test]
    fn a_deadline_in_the_past_comes_up_at_once() {
        let mut timers = Timers::new(5_000);
        timers.insert(3, 0);
        assert_eq!(timers.next_in_ms(5_000), Some(0));
        assert_eq!(expired(&mut timers, 5_000), [3]);
        assert_eq!(timers.next_in_ms(5_000), None);
    }
}
