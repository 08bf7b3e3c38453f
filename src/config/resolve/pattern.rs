//! Patterns of files below `chdir`, as the watcher compares them: relative, with nothing before the first name.

use std::path::{Component, Path};

use super::Resolver;

impl Resolver<'_> {
    /// A pattern of `reload.code` or `reload.ignore` without `./` and `chdir`. One that could never match is a problem.
    pub(super) fn patterns(&mut self, key: &str, written: &[String], chdir: &Path) -> Vec<String> {
        let mut patterns = Vec::new();
        for (index, text) in written.iter().enumerate() {
            match self.pattern(key, text, chdir) {
                Ok(pattern) => patterns.push(pattern),
                Err((title, help)) => {
                    self.problem(&format!("/reload/{key}/{index}"), title, "", help);
                }
            }
        }
        patterns
    }

    /// The error is a title and a help.
    fn pattern(
        &self,
        key: &str,
        text: &str,
        chdir: &Path,
    ) -> Result<String, (String, Option<String>)> {
        globset::Glob::new(text).map_err(|error| {
            let title = format!("`{text}` is not a glob pattern: {}", error.kind());
            (title, None)
        })?;
        let pattern = relative(text, chdir).ok_or_else(|| {
            let title = format!(
                "`{text}` matches no file below `chdir`, `{}`",
                chdir.display()
            );
            let help =
                "only files below it are watched; `reload.touch` names one that may be anywhere";
            (title, (key == "code").then(|| help.to_owned()))
        })?;
        // What is ignored may be a directory. On a machine that is not known here, every path is everything.
        let path = chdir.join(&pattern);
        let is_directory = self.machine.is_directory(&path) && !self.machine.is_file(&path);
        if key == "code" && is_directory {
            let title = format!("`{text}` matches no file, because it is a directory");
            let all = Path::new(&pattern).join("**");
            let help = format!("write `\"{}\"` for all files in it", all.display());
            return Err((title, Some(help)));
        }
        Ok(pattern)
    }
}

/// `None` for what is not below the directory.
fn relative(text: &str, chdir: &Path) -> Option<String> {
    let path = Path::new(text);
    let below = match path.is_absolute() {
        true => path.strip_prefix(chdir).ok()?,
        false => path,
    };
    let names: Option<Vec<&str>> = below
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Some(names?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_begins_with_a_name_below_the_directory() {
        let relative = |text| relative(text, Path::new("/srv/shop"));
        for (written, pattern) in [
            ("**/*.py", "**/*.py"),
            ("./a/*.py", "a/*.py"),
            ("/srv/shop/a/[x].yaml", "a/[x].yaml"),
            ("var/", "var"),
            ("{a,b}/**", "{a,b}/**"),
            ("/srv/shop", ""),
        ] {
            assert_eq!(relative(written).as_deref(), Some(pattern), "{written}");
        }
        for outside in ["/etc/x.yaml", "../x.yaml", "a/../../x", "/srv/shop2/x"] {
            assert_eq!(relative(outside), None, "{outside}");
        }
    }
}
