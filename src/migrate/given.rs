//! What somebody gave to Gunicorn's settings, in layers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::config::gunicorn::{Form, Setting, find};

/// A value for one of Gunicorn's settings.
#[derive(Debug, Clone)]
pub struct Given {
    pub setting: &'static Setting,
    pub written: Written,
    /// Where it was given: a file, `command line`, `GUNICORN_CMD_ARGS`.
    pub origin: String,
    pub provenance: Provenance,
}

/// What the source of a configuration file tells of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Provenance {
    /// The Python expression that made the value, where it is no literal.
    pub computed: Option<String>,
    /// It is made from `PORT` of the environment.
    pub has_port: bool,
    /// It is made from any variable of the environment.
    pub has_environment: bool,
    /// It is arithmetic on the number of processors and on nothing else.
    pub counts_processors: bool,
    /// The items, by their numbers, that do not stand in the file as they are: they may be secrets from elsewhere.
    pub foreign: Vec<usize>,
}

/// What the configuration has for a setting.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    Plain(Value),
    Function(Function),
    /// An object of Python that is neither, as it shows itself.
    Other(String),
}

impl Written {
    fn is_empty(&self) -> bool {
        match self {
            Self::Plain(Value::String(text)) => text.trim().is_empty(),
            Self::Plain(Value::Array(items)) => items.is_empty(),
            Self::Plain(Value::Object(items)) => items.is_empty(),
            _ => false,
        }
    }
}

/// A Python function, such as a hook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Function {
    pub name: String,
    /// What to import to find it by its name; `None` where nothing has it, or only a configuration file that is no module.
    pub module: Option<String>,
    /// Where it stands in the configuration file.
    pub line: Option<u64>,
}

/// One source of settings. A stronger one covers a weaker one setting by setting.
#[derive(Debug, Clone, Default)]
pub struct Layer(BTreeMap<&'static str, Given>);

impl Layer {
    pub fn set(&mut self, given: Given) {
        self.0.insert(given.setting.name, given);
    }

    pub fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// Whether the setting has a value that says something.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.get(name).is_some_and(|given| !given.is_nothing())
    }

    pub fn take(&mut self, name: &str) -> Option<Given> {
        self.0.remove(name)
    }

    pub(super) fn written(&mut self, setting: &Setting) -> Option<&mut Written> {
        self.0.get_mut(setting.name).map(|given| &mut given.written)
    }

    /// The settings of `upper` win.
    pub fn cover_with(&mut self, upper: Self) {
        self.0.extend(upper.0);
    }
}

impl IntoIterator for Layer {
    type Item = Given;
    type IntoIter = std::collections::btree_map::IntoValues<&'static str, Given>;

    /// By name.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

/// The app, which is no flag.
pub(super) fn given_app(app: String, origin: &str) -> Given {
    let setting = find("wsgi_app").expect("Gunicorn has that setting");
    Given::plain(setting, app, origin)
}

impl Given {
    pub(super) fn plain(setting: &'static Setting, value: impl Into<Value>, origin: &str) -> Self {
        Self {
            setting,
            written: Written::Plain(value.into()),
            origin: origin.to_owned(),
            provenance: Provenance::default(),
        }
    }

    /// `None` of Python means that nothing was given, and so does an empty text, but where the default is not empty.
    pub fn is_nothing(&self) -> bool {
        match &self.written {
            Written::Plain(Value::Null) => true,
            written => written.is_empty() && !self.says_nobody(),
        }
    }

    /// Whether it is an empty list of those who are believed: Gunicorn believes nobody then.
    pub(super) fn says_nobody(&self) -> bool {
        let names = [
            "forwarded_allow_ips",
            "proxy_allow_ips",
            "secure_scheme_headers",
        ];
        names.contains(&self.setting.name) && self.written.is_empty()
    }

    /// `timeout = 120`, cut to what a comment bears. Variables of the environment may be secrets and are not shown.
    pub fn shown(&self) -> String {
        if self.setting.form == Form::Variables {
            return self.setting.name.to_owned();
        }
        let value = match &self.written {
            Written::Plain(value) => python(value),
            Written::Function(function) => match (&function.module, function.line) {
                (Some(module), _) => format!("{module}.{}", function.name),
                (None, Some(line)) => format!("{}, line {line}", function.name),
                (None, None) => function.name.clone(),
            },
            Written::Other(text) => text.clone(),
        };
        let mut shown: String = value
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .take(SHOWN_MAX)
            .collect();
        if value.chars().nth(SHOWN_MAX).is_some() {
            shown.push('…');
        }
        format!("{} = {shown}", self.setting.name)
    }
}

/// The longest value in a comment, in characters.
const SHOWN_MAX: usize = 90;

fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}
