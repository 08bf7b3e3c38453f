//! What is wrong with a configuration, shown the way rustc does: the place, an excerpt, a caret, help.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

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
}

/// A file, or one variable or flag as it would be typed.
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
        let mut group =
            Level::ERROR
                .primary_title(printable(&self.title))
                .elements(self.excerpt.as_ref().map(|excerpt| {
                    let label = (!self.label.is_empty()).then_some(self.label.as_str());
                    Snippet::source(&excerpt.text.content)
                        .path(&excerpt.text.name)
                        .annotation(
                            AnnotationKind::Primary
                                .span(excerpt.span.clone())
                                .label(label),
                        )
                }));
        for help in &self.help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        renderer.render(&[group])
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
