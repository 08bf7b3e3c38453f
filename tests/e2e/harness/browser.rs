//! A page in a headless Chromium, where the machine has one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::{DEADLINE, Directory, venv_python, within};

const PROGRAMS: [&str; 3] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

pub struct Browser {
    driver: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _profile: Directory,
}

impl Browser {
    /// Opens the page. `None`, and a line that says so, without a browser: a package of it needs a hundred others.
    pub fn open(url: &str) -> Option<Self> {
        let found = PROGRAMS.iter().find(|path| Path::new(path).exists());
        let Some(program) = found else {
            eprintln!("there is no Chromium here: skipped");
            return None;
        };
        let profile = Directory::default();
        profile.write("browser.py", include_str!("browser.py"));
        let mut driver = Command::new(venv_python())
            .arg(profile.path().join("browser.py"))
            .args([Path::new(program), &profile.path().join("profile")])
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self {
            orders: driver.stdin.take(),
            answers: BufReader::new(driver.stdout.take().unwrap()),
            driver,
            _profile: profile,
        })
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        self.order(&json!({ "evaluate": expression }))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn shows(&mut self, expression: &str) {
        if !within(DEADLINE, || self.evaluate(expression) == true) {
            let page = self.evaluate("document.body.innerText");
            let page = page.as_str().unwrap_or_default();
            panic!("the page does not show in time: {expression}\n{page}");
        }
    }

    /// Width and height of all of the page, of which the upper part is taken.
    #[track_caller]
    pub fn screenshot(&mut self, file: &Path, [width, height]: [u32; 2], dark: bool) -> [u64; 2] {
        let order = json!({ "screenshot": file, "width": width, "height": height, "dark": dark });
        let size = self.order(&order);
        [size[0].as_u64().unwrap(), size[1].as_u64().unwrap()]
    }

    #[track_caller]
    fn order(&mut self, order: &Value) -> Value {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the browser is gone");
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // At the end of its orders the driver ends the browser.
        drop(self.orders.take());
        let _ = self.driver.wait();
    }
}
