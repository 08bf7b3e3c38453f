//! Nothing is written that our own loader would not take.

use std::{collections::BTreeMap, path::Path};

use super::{Draft, MigrateError};
use crate::config::{Elsewhere, Problem, Setting, load};

/// The text of the draft, after the keys that the loader refuses have become comments with its reasons.
pub(super) fn until_accepted(
    draft: &mut Draft,
    head: &[String],
    directory: &Path,
) -> Result<String, MigrateError> {
    loop {
        let (text, places) = draft.render(head);
        let problems = problems(&text, draft.has("app"), directory);
        if problems.is_empty() {
            return Ok(text);
        }
        let is_at = |place: &std::ops::Range<usize>, problem: &Problem| {
            let excerpt = problem.excerpt.as_ref();
            excerpt.is_some_and(|excerpt| place.contains(&excerpt.span.start))
        };
        let refused = places.iter().find_map(|(number, place)| {
            let problem = problems.iter().find(|problem| is_at(place, problem))?;
            Some((*number, reason(problem)))
        });
        let Some((number, reason)) = refused else {
            let all: Vec<String> = problems
                .iter()
                .map(|problem| problem.title.clone())
                .collect();
            return Err(MigrateError::Invalid(all.join("\n")));
        };
        let entry = draft.entries.remove(number);
        let mut given = entry.comments.into_iter();
        let given = given.next().unwrap_or_else(|| entry.key.clone());
        // A variable of the environment may be a secret.
        let refused = match entry.key.starts_with("env.") {
            true => entry.key,
            false => format!("{} = {}", entry.key, entry.value),
        };
        draft.leave(given, format!("`{refused}` is refused: {reason}."));
    }
}

fn reason(problem: &Problem) -> String {
    let help = problem.help.iter().map(|help| format!("; {help}"));
    std::iter::once(problem.title.clone()).chain(help).collect()
}

fn problems(text: &str, has_app: bool, directory: &Path) -> Vec<Problem> {
    let app = Setting {
        key: "app".to_owned(),
        value: "app".to_owned(),
        lead: String::new(),
    };
    let sources = crate::config::Sources {
        file: Some((directory.join("rgunicorn.toml"), text.to_owned())),
        environment: BTreeMap::new(),
        flags: (!has_app).then_some(app).into_iter().collect(),
    };
    // Where the file will run is not known here.
    let machine = Elsewhere {
        processors: 1,
        directory: directory.to_owned(),
    };
    load(&sources, &machine).map_or_else(|problems| problems.list().to_vec(), |_| Vec::new())
}
