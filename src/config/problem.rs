//! What is wrong with a configuration, shown the way rustc does: the place, an excerpt, a caret, help.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{Annotation, AnnotationKind, Level, Origin as Position, Renderer, Snippet};

use super::Origin;

/// Everything that is wrong, in the order of the file, the environment and the command line. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Problems(Vec<Problem>);

#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Lowercase, one sentence, no full stop.
    pub title: String,
    /// What the caret says of the marked piece; may be empty.
    pub label: String,
    pub help: Vec<String>,
    /// `None` where nothing was written, such as for a missing key.
    pub excerpt: Option<Excerpt>,
}

/// A piece of text that somebody wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Excerpt {
    pub text: Arc<Text>,
    /// Bytes of the piece in question.
    pub span: Range<usize>,
    /// Whether the lines may be quoted; else they may hold a secret, and their number has to do.
    pub is_shown: bool,
}

/// A file, or one variable or flag as it would be typed, with stars for secrets where it is known what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The path of the file, `environment` or `command line`.
    pub name: String,
    pub content: String,
}

/// Names of texts that are no files.
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const COMMAND_LINE: &str = "command line";

/// Where a key and its value were written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) text: Arc<Text>,
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
    pub(super) origin: Origin,
}

impl Excerpt {
    pub(super) fn piece(&self) -> &str {
        self.text.content.get(self.span.clone()).unwrap_or_default()
    }

    /// Line and column of its begin, both from 1.
    fn position(&self) -> (usize, usize) {
        let before = &self.text.content[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = 1 + before[line_start..].chars().count();
        (1 + before.matches('\n').count(), column)
    }
}

impl Place {
    pub(super) fn at_key(&self) -> Excerpt {
        self.excerpt(&self.key)
    }

    pub(super) fn at_value(&self) -> Excerpt {
        self.excerpt(&self.value)
    }

    fn excerpt(&self, span: &Range<usize>) -> Excerpt {
        Excerpt {
            text: Arc::clone(&self.text),
            span: span.clone(),
            is_shown: true,
        }
    }
}

impl Problem {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            label: String::new(),
            help: Vec::new(),
            excerpt: None,
        }
    }

    pub(super) fn at(mut self, excerpt: Option<Excerpt>) -> Self {
        self.excerpt = excerpt;
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl IntoIterator<Item = String>) -> Self {
        self.help.extend(help);
        self
    }

    /// The file from top to bottom, then the environment, the command line, and what is nowhere.
    fn order(&self) -> (u8, usize) {
        match &self.excerpt {
            Some(excerpt) if excerpt.text.name == ENVIRONMENT => (1, 0),
            Some(excerpt) if excerpt.text.name == COMMAND_LINE => (2, 0),
            Some(excerpt) => (0, excerpt.span.start),
            None => (3, 0),
        }
    }

    fn render(&self, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(printable(&self.title));
        let mut group = match &self.excerpt {
            Some(excerpt) if excerpt.is_shown => title.element(self.snippet(excerpt)),
            Some(excerpt) => {
                let (line, column) = excerpt.position();
                let position = Position::path(&excerpt.text.name);
                title.element(position.line(line).char_column(column))
            }
            None => title.elements(None::<Position<'_>>),
        };
        for help in &self.help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        renderer.render(&[group])
    }

    fn snippet<'e>(&'e self, excerpt: &'e Excerpt) -> Snippet<'e, Annotation<'e>> {
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        let piece = AnnotationKind::Primary.span(excerpt.span.clone());
        Snippet::source(&excerpt.text.content)
            .path(&excerpt.text.name)
            .annotation(piece.label(label))
    }
}

impl Problems {
    pub(super) fn new(mut list: Vec<Problem>) -> Self {
        debug_assert!(
            !list.is_empty(),
            "without a problem there is a configuration"
        );
        list.sort_by_key(Problem::order);
        Self(list)
    }

    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    /// Without a line end after the last one.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let shown: Vec<String> = self
            .0
            .iter()
            .map(|problem| problem.render(&renderer))
            .collect();
        shown.join("\n\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// A message goes to terminals and logs: what a file quotes must not control them.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            let escaped = letter.is_control().then(|| letter.escape_default());
            let plain = escaped.is_none().then_some(letter);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
