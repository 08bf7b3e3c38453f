//! `rgunicorn top`: the server live in a terminal. What a frame holds is decided in `frame`; the terminal is `screen`'s.

mod frame;
mod rates;
mod screen;

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use clap::{Arg, ArgAction, Command};
use nix::sys::signal::Signal;

use super::{Failure, Typed, server_arguments, succeeded};
use crate::{
    admin::Event,
    cli::{FAILED, OK},
    sys::SignalBell,
};
use frame::{Frame, Line, SortBy};
use rates::{Look, Rates};
use screen::{Screen, Wish};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// For an answer: a person waits, and the next look is as good.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks that rates and percentiles are made of.
const LOOKS_MAX: usize = 6;
/// Of a frame on paper.
const PAPER: (usize, usize) = (160, 60);

pub(super) fn grammar(command: Command) -> Command {
    let once = Arg::new("once")
        .long("once")
        .action(ArgAction::SetTrue)
        .help("Look for a second, print what there is as plain text, and end; so too where the output is no terminal");
    // What programs read is `status --json` and `/metrics.json`.
    let arguments = server_arguments().into_iter();
    command
        .about("Watch the server live: rates, latency, how busy each worker is, the slowest requests, events")
        .after_help("Keys: q quits, s sorts the workers by their start, by how busy they are, by requests per second, or by memory.")
        .arg(once)
        .args(arguments.filter(|argument| argument.get_id() != "json"))
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let mut watch = Watch::default();
    watch.look(typed)?;
    if typed.matches().get_flag("once") || !io::stdout().is_terminal() {
        std::thread::sleep(PAUSE);
        watch.look(typed)?;
        let lines = watch.lines(PAPER.0, PAPER.1);
        // Whoever closed the pipe does not want to know.
        let _ = io::stdout().write_all(text(&lines).as_bytes());
        return Ok(OK);
    }
    show(typed, &mut watch).map_err(|error| {
        let told = format!("the terminal cannot be used: {error}");
        Failure::new(FAILED, told)
    })?;
    Ok(OK)
}

/// Until the person at the keys has seen enough.
fn show(typed: &Typed<'_>, watch: &mut Watch) -> io::Result<()> {
    // They must not end it while the terminal is not as it was.
    let signals = SignalBell::install(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let screen = Screen::open()?;
    let mut next = Instant::now() + PAUSE;
    let mut trouble: Option<String> = None;
    loop {
        let (width, height) = screen.size();
        let mut lines = watch.lines(width, height);
        if let (Some(trouble), Some(first)) = (&trouble, lines.first_mut()) {
            *first = frame::alarm(trouble, width);
        }
        screen.draw(&lines)?;
        match screen.wish(next)? {
            _ if !signals.take().is_empty() => return Ok(()),
            Some(Wish::Quit) => return Ok(()),
            Some(Wish::Sort) => watch.sort_by = watch.sort_by.next(),
            Some(Wish::Redraw) => {}
            None => {
                next = Instant::now() + PAUSE;
                trouble = watch.look(typed).err().map(|failure| {
                    // The first line tells what; help is for who reads it once.
                    failure.told.lines().next().unwrap_or_default().to_owned()
                });
            }
        }
    }
}

/// What was seen last.
struct Watch {
    /// The oldest first.
    looks: VecDeque<Look>,
    events: Vec<Event>,
    sort_by: SortBy,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            looks: VecDeque::new(),
            events: Vec::new(),
            sort_by: SortBy::Start,
        }
    }
}

impl Watch {
    /// The server is looked for each time: after a restart it is another process.
    fn look(&mut self, typed: &Typed<'_>) -> Result<(), Failure> {
        let socket = typed.socket()?;
        let ask = |path| succeeded(socket.ask("GET", path, PATIENCE)?);
        let other = |error: serde_json::Error| {
            let told = format!("the server is another version than this command: {error}");
            Failure::new(FAILED, told)
        };
        let look = Look {
            status: serde_json::from_value(ask("/status")?).map_err(other)?,
            figures: serde_json::from_value(ask("/metrics.json")?).map_err(other)?,
        };
        let mut events = ask("/events")?;
        self.events = serde_json::from_value(events["events"].take()).map_err(other)?;
        let is_same = |last: &Look| last.figures.uptime_seconds < look.figures.uptime_seconds;
        if !self.looks.back().is_none_or(is_same) {
            self.looks.clear();
        }
        if self.looks.len() == LOOKS_MAX {
            self.looks.pop_front();
        }
        self.looks.push_back(look);
        Ok(())
    }

    fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else {
            return Vec::new();
        };
        let frame = Frame {
            look: last,
            rates: &Rates::between(first, last),
            window: last.figures.uptime_seconds - first.figures.uptime_seconds,
            events: &self.events,
            sort_by: self.sort_by,
        };
        frame.lines(width, height)
    }
}

fn text(lines: &[Line]) -> String {
    let lines = lines.iter().map(|line| format!("{}\n", line.text));
    lines.collect()
}
