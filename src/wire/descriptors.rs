//! The descriptors that come along with messages to a generation. They have names here, and their order only here.

/// A struct of descriptors: its fields, in this order, are what is sent.
macro_rules! descriptors {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $field:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $name<T> {
            $($(#[$meaning])* pub $field: T,)+
        }

        impl<T> $name<T> {
            /// How many they are.
            pub const COUNT: usize = [$(stringify!($field)),+].len();

            /// To be sent.
            pub fn into_list(self) -> Vec<T> {
                vec![$(self.$field),+]
            }

            /// As received: these, and those behind them. `None` when there are too few.
            pub fn received(all: Vec<T>) -> Option<(Self, Vec<T>)> {
                let mut all = all.into_iter();
                let own = Self { $($field: all.next()?),+ };
                Some((own, all.collect()))
            }
        }
    };
}

descriptors! {
    /// Those of [`ToGeneration::Start`](super::ToGeneration::Start) that do not depend on the configuration.
    StartDescriptors {
        scoreboard,
        /// Eventfd that the workers ring when their state in the scoreboard changed.
        bell,
        /// Read end of a pipe that closes when the arbiter dies.
        lifeline,
        lobby_sender,
        lobby_receiver,
        /// What is complained about before anything serves.
        last_words,
        /// Memory in which the values that may change live are posted.
        live_page,
        /// Socket in which the logs wait.
        waiting_logs,
    }
}

descriptors! {
    /// Those of [`ToGeneration::Fork`](super::ToGeneration::Fork).
    ForkDescriptors {
        /// What the worker writes its Python stacks on.
        stack_sheet,
    }
}

impl<T> StartDescriptors<T> {
    /// To be sent: with one for each listener behind them.
    pub fn with_listeners(self, listeners: impl IntoIterator<Item = T>) -> Vec<T> {
        self.into_list().into_iter().chain(listeners).collect()
    }

    /// How many are sent with so many listeners.
    pub const fn count_with(listeners: usize) -> usize {
        Self::COUNT + listeners
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
        assert_eq!(list.len(), StartDescriptors::<u32>::count_with(2));
        let (received, listeners) = StartDescriptors::received(list).unwrap();
        assert_eq!((format!("{received:?}"), listeners), (told, vec![90, 91]));
        assert!(StartDescriptors::received(vec![1; 7]).is_none());
        assert!(ForkDescriptors::<u32>::received(Vec::new()).is_none());
    }
}
