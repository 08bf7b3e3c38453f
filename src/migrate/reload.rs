//! Files whose change rolls in new code. Gunicorn watches any file, `reload.code` those below `chdir`, `reload.touch` one.

use std::path::{Path, PathBuf};

use globset::Glob;
use toml::Value;

use super::{
    Draft, Given,
    places::{Places, clean},
    translate::list,
    values::{Obstacle, words},
};

/// Adds patterns to `reload.code`.
pub(super) fn add_code(draft: &mut Draft, patterns: Vec<String>, comments: Vec<String>) {
    let Some(entry) = draft.get_mut("reload.code") else {
        return draft.set("reload.code", list(patterns), comments);
    };
    let mut all = match &entry.value {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    all.extend(patterns.into_iter().map(Value::from));
    entry.value = Value::Array(all);
    entry.comments.extend(comments);
}

/// `reload_extra_files`: paths, or patterns of Python's `glob`.
pub(super) fn extra_files(
    given: &Given,
    comments: Vec<String>,
    places: &Places,
    draft: &mut Draft,
) -> Result<(), Obstacle> {
    let root = places.root(draft);
    let mut patterns = Vec::new();
    for word in words(given)? {
        let title = || format!("{}: {} = {word}", given.origin, given.setting.name);
        match watched(&root, &word) {
            Watched::Below(pattern) => patterns.push(pattern),
            Watched::File(path) if !draft.has("reload.touch") => {
                let comments = vec![title(), OUTSIDE.to_owned()];
                draft.set("reload.touch", path.display().to_string(), comments);
            }
            Watched::File(_) | Watched::Nothing => draft.leave(title(), NOT_BELOW),
        }
    }
    if !patterns.is_empty() {
        add_code(draft, patterns, comments);
    }
    Ok(())
}

const OUTSIDE: &str = "It is not below `chdir`, where `reload.code` looks; a change of this one file rolls in new code, too.";

const NOT_BELOW: &str = "`reload.code` looks below `chdir` alone, and `reload.touch` at one file: touch that one, when this changes.";

/// What can watch it.
#[derive(Debug, PartialEq, Eq)]
enum Watched {
    /// `reload.code`, by this pattern.
    Below(String),
    /// `reload.touch`.
    File(PathBuf),
    Nothing,
}

fn watched(root: &Path, word: &str) -> Watched {
    let path = clean(&root.join(word));
    let has_signs = word.contains(['*', '?', '[']);
    let is_pattern = has_signs && !path.exists() && Glob::new(word).is_ok();
    let Ok(below) = path.strip_prefix(root) else {
        return match is_pattern || path.is_dir() {
            true => Watched::Nothing,
            false => Watched::File(path),
        };
    };
    let text = below.display().to_string();
    let mut pattern = match is_pattern {
        // Braces mean nothing to Python.
        true => text.replace('{', "[{]").replace('}', "[}]"),
        false => globset::escape(&text),
    };
    if path.is_dir() {
        pattern.push_str(if pattern.is_empty() { "**" } else { "/**" });
    }
    Watched::Below(pattern)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_lies_below_becomes_a_pattern_that_matches_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("templates")).unwrap();
        fs::write(folder.path().join("a[1].txt"), "").unwrap();
        let absolute = |name: &str| folder.path().join(name).display().to_string();
        for (word, pattern) in [
            ("b.txt", "b.txt"),
            ("./b.txt", "b.txt"),
            (&absolute("conf/b.txt"), "conf/b.txt"),
            ("a[1].txt", "a[[]1[]].txt"),
            ("templates", "templates/**"),
            (&absolute(""), "**"),
            ("b[.txt", "b[[].txt"),
            ("conf/**/*.{y}", "conf/**/*.[{]y[}]"),
        ] {
            let expected = Watched::Below(pattern.to_owned());
            assert_eq!(watched(folder.path(), word), expected, "{word}");
        }
    }

    #[test]
    fn what_lies_elsewhere_can_be_one_file() {
        let root = Path::new("/srv/site");
        let file = |path: &str| Watched::File(PathBuf::from(path));
        assert_eq!(watched(root, "/etc/x.yaml"), file("/etc/x.yaml"));
        assert_eq!(watched(root, "../x.yaml"), file("/srv/x.yaml"));
        assert_eq!(watched(root, "/etc/x/*.yaml"), Watched::Nothing);
        assert_eq!(watched(root, "/tmp"), Watched::Nothing);
    }
}
