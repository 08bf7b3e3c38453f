//! What the pages say of the configuration: each key that they name is one, and each file that they show is accepted.

use rgunicorn::config::{Elsewhere, Sources, keys, load};

use super::{pages, root};

/// ASGI's, which look like keys of `[websocket]`.
const MESSAGES: [&str; 2] = ["websocket.accept", "websocket.http.response"];

#[test]
fn every_key_that_a_page_names_is_one() {
    let mut wrong = Vec::new();
    for (path, text) in pages() {
        // All between backquotes, blocks of code included.
        for code in text.split('`').skip(1).step_by(2) {
            let is_wrong = key_of(code).is_some_and(|key| !is_known(key));
            if is_wrong && !MESSAGES.contains(&code) {
                wrong.push(format!("{}: there is no key `{code}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The key that a code begins with, if it can be one: `timeouts.boot`, `limits.body = "1MiB"`, `[log] level`.
fn key_of(code: &str) -> Option<&str> {
    if let Some((table, _)) = code.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_name = table
            .chars()
            .all(|c| c.is_ascii_lowercase() || "_.".contains(c));
        return is_name.then_some(table).filter(|table| !table.is_empty());
    }
    let end = code.find(|c: char| !(c.is_ascii_lowercase() || "_.".contains(c)));
    let name = code[..end.unwrap_or(code.len())].trim_end_matches('.');
    let (table, _) = name.split_once('.')?;
    is_known(table).then_some(name)
}

/// A key, or a table of keys. The names in `[env]` are anybody's.
fn is_known(name: &str) -> bool {
    let is_it = |key: &String| {
        let rest = key.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    name == "env" || keys().iter().any(is_it)
}

#[test]
fn every_configuration_that_a_page_shows_is_accepted() {
    let machine = Elsewhere {
        processors: 2,
        directory: root().to_owned(),
    };
    let mut count = 0;
    for (path, text) in pages() {
        let blocks = text.split("```toml\n").skip(1);
        for block in blocks.map(|rest| rest.split("```").next().unwrap()) {
            // Of Python's logging.
            if block.starts_with("# logging.toml") {
                continue;
            }
            let app = if block.contains("app = ") {
                ""
            } else {
                "app = 'app'\n"
            };
            let sources = Sources {
                file: Some((path.clone(), format!("{app}{block}"))),
                ..Sources::default()
            };
            if let Err(problems) = load(&sources, &machine) {
                panic!("{problems}");
            }
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}
