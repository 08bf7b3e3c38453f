//! The file that is being written: keys with their comments, and what has none.

use std::ops::Range;

use toml::Value;

/// A line of a comment is broken after so many characters.
const WIDTH: usize = 100;

/// Keys stand in this order, tables after them; what is not named here follows by the alphabet.
const ORDER: &[&str] = &[
    "app",
    "python",
    "chdir",
    "python_path",
    "bind",
    "socket_mode",
    "backlog",
    "workers",
    "worker_class",
    "threads",
    "preload",
    "user",
    "group",
    "umask",
    "pidfile",
    "proc_name",
    "env",
    "timeouts",
    "limits",
    "log",
    "hooks",
    "reload",
    "proxy",
];

/// The file to be, and what could not be carried over.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub entries: Vec<Entry>,
    pub left: Vec<Left>,
    /// Said at the beginning, each in one or more lines.
    pub remarks: Vec<Vec<String>>,
}

/// A key and why it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// In full: `limits.connections`.
    pub key: String,
    pub value: Value,
    /// Paragraphs.
    pub comments: Vec<String>,
}

/// A setting that became no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What was given, and where.
    pub given: String,
    pub reason: String,
}

impl Draft {
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    /// Adds a key that is not there yet.
    pub fn set(&mut self, key: &str, value: impl Into<Value>, comments: Vec<String>) {
        self.entries.push(Entry {
            key: key.to_owned(),
            value: value.into(),
            comments,
        });
    }

    /// Takes note of a setting that becomes no key.
    pub fn leave(&mut self, given: impl Into<String>, reason: impl Into<String>) {
        self.left.push(Left {
            given: given.into(),
            reason: reason.into(),
        });
    }

    /// The text of the file, and of each entry (by its number) the bytes in it.
    pub fn render(&self, head: &[String]) -> (String, Vec<(usize, Range<usize>)>) {
        let mut text = String::new();
        for line in head {
            text.push_str(line);
            text.push('\n');
        }
        for remark in &self.remarks {
            text.push_str("#\n");
            text.extend(remark.iter().map(|line| comment(line)));
        }
        let mut places = Vec::new();
        let mut table = "";
        let mut is_first_of_table = false;
        for (number, entry) in self.sorted() {
            let (own_table, name) = entry.key.split_once('.').unwrap_or(("", &entry.key));
            if own_table != table {
                table = own_table;
                is_first_of_table = true;
                text.push_str(&format!("\n[{table}]\n"));
            }
            let is_packed = is_first_of_table || (table == "env" && entry.comments.is_empty());
            if !is_packed {
                text.push('\n');
            }
            is_first_of_table = false;
            let start = text.len();
            for paragraph in &entry.comments {
                text.push_str(&comment(paragraph));
            }
            text.push_str(&format!("{} = {}\n", key_text(name), entry.value));
            places.push((number, start..text.len()));
        }
        text.push_str(&self.left_text());
        (text, places)
    }

    fn sorted(&self) -> Vec<(usize, &Entry)> {
        let mut entries: Vec<(usize, &Entry)> = self.entries.iter().enumerate().collect();
        entries.sort_by_key(|(number, entry)| {
            let (table, name) = entry.key.split_once('.').unwrap_or(("", &entry.key));
            let top = if table.is_empty() { name } else { table };
            let rank = ORDER.iter().position(|known| *known == top);
            (
                !table.is_empty(),
                rank.unwrap_or(ORDER.len()),
                top.to_owned(),
                *number,
            )
        });
        entries
    }

    fn left_text(&self) -> String {
        let mut text = String::new();
        if !self.left.is_empty() {
            text.push_str("\n# Not in this file, and why:\n");
        }
        for left in &self.left {
            text.push_str("#\n");
            text.push_str(&comment(&left.given));
            for line in wrapped(&left.reason, WIDTH - 4) {
                text.push_str(&format!("#   {line}\n"));
            }
        }
        text
    }
}

fn key_text(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

fn comment(text: &str) -> String {
    wrapped(text, WIDTH)
        .iter()
        .map(|line| format!("# {line}\n"))
        .collect()
}

/// Control characters, which no comment of TOML may have, become spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        let Some(last) = lines.last_mut() else { break };
        if word.is_empty() {
            continue;
        }
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_order_with_their_comments() {
        let mut draft = Draft::default();
        draft.set("timeouts.worker", "60s", vec!["Long.".to_owned()]);
        draft.set("workers", 3, Vec::new());
        draft.set("app", "a\"b", vec!["one\ntwo".to_owned()]);
        draft.set("env.A B", "1", Vec::new());
        draft.set("env.C", "2", Vec::new());
        draft.leave("spew = True, here", "No.");
        let (text, places) = draft.render(&["# Head".to_owned()]);
        assert_eq!(
            text,
            "# Head\n\n# one two\napp = 'a\"b'\n\nworkers = 3\n\n[env]\n\"A B\" = \"1\"\nC = \"2\"\n\n\
             [timeouts]\n# Long.\nworker = \"60s\"\n\n# Not in this file, and why:\n#\n# spew = True, here\n#   No.\n"
        );
        let (number, place) = &places[1];
        assert_eq!((*number, &text[place.clone()]), (1, "workers = 3\n"));
    }
}
