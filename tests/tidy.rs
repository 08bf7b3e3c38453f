//! Rules about the source itself, held by a machine. Each message says what to do.

#![expect(clippy::unwrap_used, reason = "what cannot be read is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where a file is too long for one idea, whatever the reason.
const LINES_MAX: usize = 900;

/// Where a function is too long to be seen at once.
const FUNCTION_LINES_MAX: usize = 70;
/// How many are longer all the same. It only ever goes down: lower it with each that is made shorter.
const LONG_FUNCTIONS_MAX: usize = 4;

/// What makes a module depend on the moment at which it runs.
const MOMENT: &[&str] = &[
    "std::thread",
    "std::process",
    "Instant::now",
    "SystemTime::now",
];
/// What makes it depend on the machine.
const MACHINE: &[&str] = &["std::net", "std::fs", "std::io", "std::env"];
/// Those whom a part of the server must not know, to be tested without them.
const OTHERS: &[&str] = &["crate::arbiter", "crate::worker", "crate::python", "pyo3"];

/// Modules, and what they must not touch: these walls make them testable as text. `tests` modules may.
const WALLS: &[(&str, &[&[&str]])] = &[
    (
        "src/config",
        &[
            OTHERS,
            MOMENT,
            &["crate::sys", "crate::http", "std::net::Tcp"],
        ],
    ),
    (
        "src/http",
        &[
            MOMENT,
            &[
                "crate::",
                "std::net::Tcp",
                "std::net::Udp",
                "std::fs",
                "std::io",
                "std::env",
            ],
        ],
    ),
    (
        "src/websocket",
        &[
            OTHERS,
            MOMENT,
            MACHINE,
            &["crate::sys", "crate::config", "crate::telemetry"],
        ],
    ),
    (
        "src/arbiter/core",
        &[
            MOMENT,
            MACHINE,
            &[
                "crate::sys",
                "crate::config",
                "crate::worker",
                "crate::python",
                "crate::http",
                "crate::telemetry",
            ],
        ],
    ),
    (
        "src/wire/message.rs",
        &[MOMENT, &["crate::sys", "std::fs", "std::io"]],
    ),
    (
        "src/worker",
        &[&["crate::arbiter", "crate::cli", "crate::python", "pyo3"]],
    ),
    (
        "src/arbiter",
        &[&["crate::worker", "crate::python", "crate::http", "pyo3"]],
    ),
    ("src/admin", &[OTHERS, &["crate::cli"]]),
    ("src/telemetry", &[OTHERS, &["crate::cli"]]),
    (
        "src/sys",
        &[
            OTHERS,
            &["crate::config", "crate::http", "crate::telemetry"],
        ],
    ),
];

/// The only places where `unsafe` may be written.
const UNSAFE: &[&str] = &["src/sys", "src/python/ffi", "src/wire/scoreboard.rs"];

/// Who may call what can cost somebody else's files, and how it knows that they are its own.
const REMOVALS: &[(&str, &[&str])] = &[
    (
        concat!("remove_", "file("),
        &[
            // By device and inode, and sockets alone.
            "src/arbiter/listeners/unix.rs",
            // By its lock, and files alone that hold a pid.
            "src/arbiter/pidfile.rs",
        ],
    ),
    (
        concat!("unlink", "at("),
        &["src/sys/safe_open.rs"], // by device and inode
    ),
    (
        concat!("remove_dir", "_all("),
        &[
            "tests/e2e/harness/directory.rs", // made by `tempfile`
            "tests/e2e/harness/made_once.rs", // below `target`, under a lock
            "tests/e2e/harness/save.rs",      // in the folder of the file that is saved
        ],
    ),
    // The threads of all tests share the current directory, and relative paths mean another place after it.
    (concat!("set_current", "_dir("), &[]),
];

/// Words that promise work instead of doing it, split so that this file does not contain them.
const PROMISES: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

#[test]
fn files_are_short_enough_for_one_idea() {
    check(all_sources(), |file, wrong| {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines: split it", file.name));
        }
    });
}

#[test]
fn functions_are_short_enough_to_be_seen_at_once() {
    let sources = sources(&["src"]);
    let long: Vec<String> = sources.iter().flat_map(long_functions).collect();
    assert!(
        long.len() <= LONG_FUNCTIONS_MAX,
        "split one of these, each over {FUNCTION_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn each_file_begins_by_saying_what_it_owns() {
    check(all_sources(), |file, wrong| {
        let is_unit_test = file.name.starts_with("src") && file.name.contains("/tests");
        if !is_unit_test && !file.text.starts_with("//! ") {
            wrong.push(format!(
                "{}: begin with `//!` and what the module owns and refuses",
                file.name
            ));
        }
    });
}

#[test]
fn unsafe_is_where_it_is_expected_and_says_why_it_is_safe() {
    check(sources(&["src"]), |file, wrong| {
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let forms = ["unsafe {", "unsafe impl", "unsafe extern"];
            let is_use = forms.iter().any(|form| line.contains(form));
            if !is_use || line.trim_start().starts_with("//") {
                continue;
            }
            let place = format!("{}:{}", file.name, number + 1);
            if !UNSAFE.iter().any(|folder| file.name.starts_with(folder)) {
                wrong.push(format!("{place}: move the unsafe code to src/sys"));
            }
            let before = &lines[number.saturating_sub(8)..=number];
            if !before.iter().any(|line| line.contains("SAFETY")) {
                wrong.push(format!("{place}: say why it is safe in a SAFETY comment"));
            }
        }
    });
}

#[test]
fn the_walls_between_modules_stand() {
    for (module, forbidden) in WALLS {
        check(sources(&[module]), |file, wrong| {
            for (number, line) in without_tests_and_comments(file) {
                let found = |name: &&&str| mentions(&file.name, module, line, name);
                if let Some(name) = forbidden.iter().copied().flatten().find(found) {
                    let code = line.trim();
                    wrong.push(format!(
                        "{}:{number}: {module} must not touch {name}: {code}",
                        file.name
                    ));
                }
            }
        });
    }
}

#[test]
fn files_are_removed_only_where_they_are_known_to_be_our_own() {
    check(all_sources(), |file, wrong| {
        for (number, line) in file.text.lines().enumerate() {
            for (call, allowed) in REMOVALS.iter().filter(|(call, _)| line.contains(call)) {
                // A test may remove a file by its name, which does nothing to a directory.
                let is_tests = call.contains("_file") && is_test(file, number);
                if !allowed.contains(&file.name.as_str()) && !is_tests {
                    wrong.push(format!(
                        "{}:{}: list it in REMOVALS, with the reason why nothing else can go: {line}",
                        file.name,
                        number + 1
                    ));
                }
            }
        }
    });
}

#[test]
fn nothing_is_left_to_be_done() {
    check(all_sources(), |file, wrong| {
        for (number, line) in file.text.lines().enumerate() {
            if PROMISES.iter().any(|word| line.contains(*word)) {
                let place = format!("{}:{}", file.name, number + 1);
                wrong.push(format!("{place}: do it, or open an issue: {line}"));
            }
        }
    });
}

#[test]
fn the_documents_name_files_and_items_that_exist() {
    let sources = all_sources();
    let all_code: String = sources.iter().map(|file| file.text.as_str()).collect();
    let mut wrong = Vec::new();
    let mut documents = ["README.md", "ARCHITECTURE.md", "src/worker/LIFECYCLE.md"]
        .map(|name| root().join(name))
        .to_vec();
    documents.extend(
        fs::read_dir(root().join("docs"))
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for name in text.split('`').skip(1).step_by(2) {
            let folders = [
                "src/",
                "tests/",
                "docs/",
                "examples/",
                "schema/",
                "benches/",
                ".ci/",
            ];
            let exists = if folders.iter().any(|folder| name.starts_with(folder)) {
                root().join(name).exists()
            } else if is_item_path(name) {
                let is_known = |part| all_code.contains(part) || is_module(&sources, part);
                name.split("::").all(is_known)
            } else {
                true
            };
            if !exists {
                wrong.push(format!(
                    "{} names `{name}`, which does not exist",
                    document.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_gate_runs_the_test_command_of_the_readme() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let readme = read("README.md");
    let mut commands = readme.split('`').skip(1).step_by(2);
    let command = commands.find(|code| code.starts_with("cargo test"));
    let line = format!("\nrun {}\n", command.unwrap());
    assert!(read(".ci/run").contains(&line), "{line}");
}

/// Looks at each file and shows all that is wrong at once.
fn check(files: Vec<Source>, look: impl Fn(&Source, &mut Vec<String>)) {
    let mut wrong = Vec::new();
    for file in &files {
        look(file, &mut wrong);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

struct Source {
    /// From the root of the repository.
    name: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_sources() -> Vec<Source> {
    sources(&["src", "tests", "benches"])
}

/// All Rust files under these files and folders.
fn sources(places: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = places.iter().map(|place| root().join(place)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source { name, text });
        }
    }
    found
}

/// Whether the line, counted from 0, belongs to a test.
fn is_test(file: &Source, number: usize) -> bool {
    let code = without_tests_and_comments(file);
    !file.name.starts_with("src/") || code.iter().all(|(line, _)| *line != number + 1)
}

/// Numbered lines of code. Modules of tests stand last in a file, or in files called `tests`.
fn without_tests_and_comments(file: &Source) -> Vec<(usize, &str)> {
    if file.name.contains("/tests") {
        return Vec::new();
    }
    let lines = file
        .text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line));
    lines
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// Place and length of those that are too long. The formatter puts the last brace below the beginning of the head.
fn long_functions(file: &Source) -> Vec<String> {
    let code = without_tests_and_comments(file);
    let mut long = Vec::new();
    for (at, (first, line)) in code.iter().enumerate() {
        let head = line.trim_start();
        if !head.starts_with("fn ") && !head.contains(" fn ") {
            continue;
        }
        let indent = &line[..line.len() - head.len()];
        // A body, an empty one, or none as in a trait.
        let is_end = |(_, line): &&(usize, &str)| {
            let same = line
                .strip_prefix(indent)
                .filter(|rest| !rest.starts_with(' '));
            same.is_some_and(|rest| rest == "}" || rest.ends_with("{}") || rest.ends_with(';'))
        };
        let Some((last, _)) = code[at..].iter().find(is_end) else {
            continue;
        };
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            long.push(format!("{}:{first}: {lines} lines: {head}", file.name));
        }
    }
    long
}

/// A module may name itself: `crate::http` within src/http.
fn mentions(file: &str, module: &str, line: &str, name: &str) -> bool {
    if module == "src/arbiter" && file.starts_with("src/arbiter/core") {
        return false;
    }
    let own = format!(
        "crate::{}",
        module.trim_start_matches("src/").replace('/', "::")
    );
    line.contains(name) && !(name == "crate::" && line.contains(&own))
}

/// `arbiter::core`, `Action::Spawn`: names of ours, not a key such as `timeouts.boot`.
fn is_item_path(name: &str) -> bool {
    name.contains("::")
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "_:".contains(c))
}

fn is_module(sources: &[Source], name: &str) -> bool {
    sources.iter().any(|file| {
        let path = file.name.trim_end_matches(".rs");
        path.split('/').any(|part| part == name)
    })
}
