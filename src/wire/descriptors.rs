//! The descriptors that come along with messages to a generation. They have names here, and their order only here.

/// How many come with every `Start`.
const START: usize = 8;
/// How many come with every `Fork`.
const FORK: usize = 1;

/// Those of [`ToGeneration::Start`](super::ToGeneration::Start) that do not depend on the configuration.
#[derive(Debug)]
pub struct StartDescriptors<T> {
    pub scoreboard: T,
    /// Eventfd that the workers ring when their state in the scoreboard changed.
    pub bell: T,
    /// Read end of a pipe that closes when the arbiter dies.
    pub lifeline: T,
    pub lobby_sender: T,
    pub lobby_receiver: T,
    /// What is complained about before anything serves.
    pub last_words: T,
    /// Memory in which the values that may change live are posted.
    pub live_page: T,
    /// Socket in which the logs wait.
    pub waiting_logs: T,
}

impl<T> StartDescriptors<T> {
    /// To be sent: with one for each listener behind them.
    pub fn with_listeners(self, listeners: impl IntoIterator<Item = T>) -> Vec<T> {
        let Self {
            scoreboard,
            bell,
            lifeline,
            lobby_sender,
            lobby_receiver,
            last_words,
            live_page,
            waiting_logs,
        } = self;
        let own: [T; START] = [
            scoreboard,
            bell,
            lifeline,
            lobby_sender,
            lobby_receiver,
            last_words,
            live_page,
            waiting_logs,
        ];
        own.into_iter().chain(listeners).collect()
    }

    /// As received: these, and those of the listeners. `None` when there are too few.
    pub fn received(mut all: Vec<T>) -> Option<(Self, Vec<T>)> {
        let listeners = all.split_off(START.min(all.len()));
        let own: [T; START] = all.try_into().ok()?;
        let [
            scoreboard,
            bell,
            lifeline,
            lobby_sender,
            lobby_receiver,
            last_words,
            live_page,
            waiting_logs,
        ] = own;
        let own = Self {
            scoreboard,
            bell,
            lifeline,
            lobby_sender,
            lobby_receiver,
            last_words,
            live_page,
            waiting_logs,
        };
        Some((own, listeners))
    }
}

impl StartDescriptors<()> {
    /// How many are sent with so many listeners.
    pub const fn count_with(listeners: usize) -> usize {
        START + listeners
    }
}

/// Those of [`ToGeneration::Fork`](super::ToGeneration::Fork).
#[derive(Debug)]
pub struct ForkDescriptors<T> {
    /// What the worker writes its Python stacks on.
    pub stack_sheet: T,
}

impl<T> ForkDescriptors<T> {
    /// To be sent.
    pub fn into_list(self) -> [T; FORK] {
        let Self { stack_sheet } = self;
        [stack_sheet]
    }

    /// As received; `None` when it is another number of them.
    pub fn received(all: Vec<T>) -> Option<Self> {
        let own: [T; FORK] = all.try_into().ok()?;
        let [stack_sheet] = own;
        Some(Self { stack_sheet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received_under_the_same_names() {
        let sent = StartDescriptors {
            scoreboard: 1,
            bell: 2,
            lifeline: 3,
            lobby_sender: 4,
            lobby_receiver: 5,
            last_words: 6,
            live_page: 7,
            waiting_logs: 8,
        };
        let told = format!("{sent:?}");
        let list = sent.with_listeners([90, 91]);
        assert_eq!(list.len(), StartDescriptors::count_with(2));
        let (received, listeners) = StartDescriptors::received(list).unwrap();
        assert_eq!((format!("{received:?}"), listeners), (told, vec![90, 91]));
        assert!(StartDescriptors::received(vec![1; 7]).is_none());
        assert!(ForkDescriptors::received(vec![1, 2]).is_none());
    }
}
