//! The typed ends of one socket between the arbiter and a generation.
//!
//! An end never blocks. What the socket cannot take now waits in an outbox, in order, until [`End::flush`] is called
//! when the socket is writable again; so neither side can hold up the other.

use std::{
    collections::VecDeque,
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{FromGeneration, ToGeneration};
use crate::sys::{
    next_message_bytes, receive_with_descriptors, send_with_descriptors, seqpacket_pair,
};

/// Bytes of one message. Less than the kernel's default for a socket's buffer (208 KiB), which bounds a datagram.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a `reason`, so that it fits into a message even when JSON needs six bytes for each.
const REASON_BYTES_MAX: usize = 16 * 1024;
/// Messages that may wait for a peer that does not read; with more, something is broken.
const OUTBOX_MAX: usize = 4096;

/// What the arbiter holds.
pub type ArbiterEnd = End<ToGeneration, FromGeneration>;
/// What the generation holds.
pub type GenerationEnd = End<FromGeneration, ToGeneration>;

/// Sends `Out` and receives `In`.
#[derive(Debug)]
pub struct End<Out, In> {
    socket: OwnedFd,
    /// Messages that the socket could not take, oldest first.
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// Room for one message, as long as the longest so far.
    inbox: Vec<u8>,
    vocabulary: PhantomData<fn(Out) -> In>,
}

/// What [`End::receive`] found.
#[derive(Debug)]
pub enum Received<In> {
    Message(In, Vec<OwnedFd>),
    /// Nothing now.
    Empty,
    /// The peer is gone, and everything it sent was received.
    Closed,
}

/// Why a message does not get through.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the other side of the channel is gone")]
    Closed,
    #[error("a message of {bytes} bytes is longer than {MESSAGE_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the other side does not read: {OUTBOX_MAX} messages wait for it")]
    Stuck,
    #[error("a message cannot be encoded or decoded")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Os(io::Error),
}

/// The arbiter's end, and the socket that the generation makes its end of with [`End::open`].
pub fn channel() -> io::Result<(ArbiterEnd, OwnedFd)> {
    let (ours, theirs) = seqpacket_pair()?;
    Ok((ArbiterEnd::open(ours), theirs))
}

impl<Out: Message, In: DeserializeOwned> End<Out, In> {
    /// An end on a SEQPACKET socket.
    pub fn open(socket: OwnedFd) -> Self {
        Self {
            socket,
            outbox: VecDeque::new(),
            inbox: Vec::new(),
            vocabulary: PhantomData,
        }
    }

    /// Sends a message with descriptors, of which the peer gets copies, or keeps it until [`End::flush`].
    pub fn send(
        &mut self,
        message: Out,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let bytes = serde_json::to_vec(&message.cut_to_fit()).map_err(ChannelError::Json)?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ChannelError::TooLong { bytes: bytes.len() });
        }
        if self.outbox.is_empty()
            && sent(send_with_descriptors(
                self.socket.as_fd(),
                &bytes,
                descriptors,
            ))?
        {
            return Ok(());
        }
        if self.outbox.len() >= OUTBOX_MAX {
            return Err(ChannelError::Stuck);
        }
        let copies = descriptors
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect::<io::Result<_>>()
            .map_err(ChannelError::Os)?;
        self.outbox.push_back((bytes, copies));
        Ok(())
    }

    /// Whether messages wait: poll for writability then, and call [`End::flush`].
    pub fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends what waits, as far as the socket takes it. [`ChannelError::Closed`] says nothing of what the peer sent before.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some((bytes, descriptors)) = self.outbox.front() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            if !sent(send_with_descriptors(self.socket.as_fd(), bytes, &borrowed))? {
                break;
            }
            self.outbox.pop_front();
        }
        Ok(())
    }

    /// Receives one message. An error other than of the socket concerns this message only.
    pub fn receive(&mut self) -> Result<Received<In>, ChannelError> {
        let mut descriptors = Vec::new();
        let received = match self.receive_bytes(&mut descriptors) {
            // Told once, to a peer that left with messages of ours unread; those that it had sent wait behind it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.receive_bytes(&mut descriptors)
            }
            received => received,
        };
        match received {
            Ok(0) => Ok(Received::Closed),
            Ok(length) => serde_json::from_slice(&self.inbox[..length])
                .map(|message| Received::Message(message, descriptors))
                .map_err(ChannelError::Json),
            Err(error) if is_again(&error) => Ok(Received::Empty),
            Err(error) => Err(ChannelError::Os(error)),
        }
    }

    /// The length of a message in the inbox; zero when the peer is gone and everything it sent was received.
    fn receive_bytes(&mut self, descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let bytes = next_message_bytes(self.socket.as_fd())?;
        let room = bytes.min(MESSAGE_BYTES_MAX).max(self.inbox.len());
        self.inbox.resize(room, 0);
        receive_with_descriptors(self.socket.as_fd(), &mut self.inbox, descriptors)
    }
}

impl<Out, In> AsFd for End<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// True: it went. False: the socket takes nothing now.
fn sent(result: io::Result<()>) -> Result<bool, ChannelError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_again(&error) => Ok(false),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected => ChannelError::Closed,
            _ => ChannelError::Os(error),
        }),
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What may travel, and how it is made to fit.
pub trait Message: Serialize + Sized {
    /// The message with texts of unlimited length cut.
    fn cut_to_fit(self) -> Self;
}

impl Message for ToGeneration {
    /// A configuration is never cut: one that does not fit is an error.
    fn cut_to_fit(self) -> Self {
        self
    }
}

impl Message for FromGeneration {
    fn cut_to_fit(mut self) -> Self {
        match &mut self {
            Self::Failed { reason } | Self::NotForked { reason, .. } => {
                cut(reason, REASON_BYTES_MAX);
            }
            Self::Hello { .. }
            | Self::Prepared
            | Self::Forked { .. }
            | Self::Exited { .. }
            | Self::HookEnded => {}
        }
        self
    }
}

/// Shortens a text to whole characters within so many bytes.
fn cut(text: &mut String, bytes_max: usize) {
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at));
    if let Some(end) = end {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (ArbiterEnd, GenerationEnd) {
        let (arbiter, socket) = channel().unwrap();
        (arbiter, GenerationEnd::open(socket))
    }

    fn message<Out: Message, In: DeserializeOwned>(end: &mut End<Out, In>) -> In {
        match end.receive().unwrap() {
            Received::Message(message, _) => message,
            Received::Empty => panic!("empty"),
            Received::Closed => panic!("closed"),
        }
    }

    #[test]
    fn messages_and_their_descriptors_arrive_in_order() {
        let (mut arbiter, mut generation) = pair();
        generation.send(FromGeneration::Prepared, &[]).unwrap();
        let forked = FromGeneration::Forked { worker: 1, pid: 2 };
        let (lifeline, end) = crate::sys::Lifeline::create().unwrap();
        generation.send(forked.clone(), &[end.as_fd()]).unwrap();
        assert_eq!(message(&mut arbiter), FromGeneration::Prepared);
        let Received::Message(second, descriptors) = arbiter.receive().unwrap() else {
            panic!("no message");
        };
        assert_eq!((second, descriptors.len()), (forked, 1));
        assert!(matches!(arbiter.receive().unwrap(), Received::Empty));
        drop(lifeline);
    }

    #[test]
    fn what_was_sent_before_the_end_is_received_before_it() {
        let (mut arbiter, mut generation) = pair();
        generation.send(FromGeneration::Prepared, &[]).unwrap();
        drop(generation);
        assert_eq!(message(&mut arbiter), FromGeneration::Prepared);
        assert!(matches!(arbiter.receive().unwrap(), Received::Closed));
        let late = arbiter.send(ToGeneration::Retire, &[]);
        assert!(matches!(late, Err(ChannelError::Closed)));
    }

    #[test]
    fn an_end_with_unread_messages_is_closed_all_the_same() {
        let (mut arbiter, mut generation) = pair();
        arbiter.send(ToGeneration::Retire, &[]).unwrap();
        drop(arbiter);
        assert_eq!(message(&mut generation), ToGeneration::Retire);
        let (mut arbiter, generation) = pair();
        arbiter.send(ToGeneration::Retire, &[]).unwrap();
        drop(generation);
        assert!(matches!(arbiter.receive().unwrap(), Received::Closed));
    }

    #[test]
    fn what_a_peer_said_is_received_although_it_left_without_hearing_us() {
        for flushes_first in [false, true] {
            let (mut arbiter, mut generation) = pair();
            for worker in 0..2000 {
                let fork = ToGeneration::Fork { worker, slot: 0 };
                arbiter.send(fork, &[]).unwrap();
            }
            generation.send(FromGeneration::Prepared, &[]).unwrap();
            drop(generation);
            if flushes_first {
                assert!(matches!(arbiter.flush(), Err(ChannelError::Closed)));
            }
            assert_eq!(message(&mut arbiter), FromGeneration::Prepared);
            assert!(matches!(arbiter.receive().unwrap(), Received::Closed));
        }
    }

    #[test]
    fn a_peer_that_does_not_read_holds_up_nobody_and_loses_nothing() {
        let (mut arbiter, mut generation) = pair();
        for worker in 0..2000 {
            let fork = ToGeneration::Fork { worker, slot: 0 };
            arbiter.send(fork, &[]).unwrap();
        }
        assert!(arbiter.wants_to_write());
        for expected in 0..2000 {
            let ToGeneration::Fork { worker, .. } = message(&mut generation) else {
                panic!("another message");
            };
            assert_eq!(worker, expected);
            arbiter.flush().unwrap();
        }
        assert!(!arbiter.wants_to_write());
    }

    #[test]
    fn a_long_reason_is_cut_and_arrives() {
        let (mut arbiter, mut generation) = pair();
        let reason = "\u{1}".repeat(1_000_000);
        generation
            .send(FromGeneration::Failed { reason }, &[])
            .unwrap();
        let FromGeneration::Failed { reason } = message(&mut arbiter) else {
            panic!("another message");
        };
        assert_eq!(reason.len(), REASON_BYTES_MAX);
    }

    #[test]
    fn a_text_is_cut_between_characters_and_a_short_one_is_not() {
        for (text, bytes_max, expected) in [("aéé", 4, "aé"), ("aé", 3, "aé"), ("a", 9, "a")] {
            let mut text = text.to_owned();
            cut(&mut text, bytes_max);
            assert_eq!(text, expected);
        }
    }
}
