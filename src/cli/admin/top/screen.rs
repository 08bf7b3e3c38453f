//! The terminal while `top` has it, and as it was before when it is over, however it ends.

use std::{
    io::{self, BufWriter, Write as _},
    panic,
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event,
    event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    queue,
    style::{Attribute, Color, Print, SetAttribute, SetForegroundColor},
    terminal::{self, ClearType},
};

use super::frame::{Line, Tone};

/// Has the terminal until it is dropped.
pub(super) struct Screen(());

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Sort,
    /// The window has another size.
    Redraw,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        // A panic's message would be lost with the other screen.
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            told(info);
        }));
        terminal::enable_raw_mode()?;
        let screen = Self(());
        let mut out = io::stdout();
        queue!(
            out,
            terminal::EnterAlternateScreen,
            terminal::DisableLineWrap,
            cursor::Hide
        )?;
        out.flush()?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        (width.into(), height.into())
    }

    pub(super) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout());
        queue!(out, terminal::BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines) {
            queue!(out, cursor::MoveTo(0, row))?;
            match line.tone {
                Tone::Plain => {}
                Tone::Title => queue!(out, SetAttribute(Attribute::Bold))?,
                Tone::Head => queue!(out, SetAttribute(Attribute::Reverse))?,
                Tone::Alarm => queue!(out, SetForegroundColor(Color::Red))?,
            }
            queue!(
                out,
                Print(&line.text),
                SetAttribute(Attribute::Reset),
                terminal::Clear(ClearType::UntilNewLine)
            )?;
        }
        if lines.len() < self.size().1 {
            let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
            queue!(
                out,
                cursor::MoveTo(0, below),
                terminal::Clear(ClearType::FromCursorDown)
            )?;
        }
        queue!(out, terminal::EndSynchronizedUpdate)?;
        out.flush()
    }

    /// The next wish; `None` when there was none until then.
    pub(super) fn wish(&self, until: Instant) -> io::Result<Option<Wish>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO || !event::poll(left)? {
                return Ok(None);
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    if let Some(wish) = meant(key) {
                        return Ok(Some(wish));
                    }
                }
                Event::Resize(..) => return Ok(Some(Wish::Redraw)),
                _ => {}
            }
        }
    }
}

fn meant(key: KeyEvent) -> Option<Wish> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char('s') => Some(Wish::Sort),
        _ => None,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Does no harm when it is done twice. What fails here has no remedy.
fn restore() {
    let mut out = io::stdout();
    let _ = queue!(
        out,
        cursor::Show,
        terminal::EnableLineWrap,
        terminal::LeaveAlternateScreen
    );
    let _ = out.flush();
    let _ = terminal::disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Set in the process that is to panic.
    const CHILD: &str = "RGUNICORN_TEST_OF_A_PANIC";

    #[test]
    fn after_a_panic_the_terminal_is_as_it_was_and_shows_the_message() {
        if env::var_os(CHILD).is_some() {
            let _screen = Screen::open().unwrap();
            panic!("on purpose");
        }
        let this = env::current_exe().unwrap();
        let name = "after_a_panic_the_terminal_is_as_it_was_and_shows_the_message";
        let command = format!("stty -g; '{}' {name} --nocapture; stty -g", this.display());
        // In a terminal of its own: script(1).
        let output = Command::new("script")
            .args(["--quiet", "--command", &command, "/dev/null"])
            .env(CHILD, "1")
            .env("TERM", "xterm-256color")
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&output.stdout);
        let modes = |line: Option<&str>| line.unwrap().trim().to_owned();
        let (before, after) = (modes(seen.lines().next()), modes(seen.lines().last()));
        assert!(before.contains(':'), "{seen}");
        assert_eq!(before, after, "{seen}");
        let (_, shown) = seen.split_once("\x1b[?1049h").unwrap();
        let (_, after) = shown.split_once("\x1b[?1049l").unwrap();
        assert!(after.contains("on purpose"), "{seen}");
    }
}
