//! A look at a project, from outside: which file holds the app, which interpreter has its packages. Nothing is imported.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use crate::sys::read_file;

/// How deep below the project an app may lie, how many directories and modules are looked at, and how much of a file is read.
const DEPTH_MAX: usize = 3;
const SEEN_MAX: usize = 2000;
const BYTES_MAX: u64 = 256 * 1024;

/// Directories that hold other people's code or none.
const SKIPPED: &[&str] = &[
    "node_modules",
    "site-packages",
    "tests",
    "test",
    "docs",
    "migrations",
    "build",
    "dist",
    "venv",
    "env",
];
/// Modules that apps are in, the likeliest first.
const MODULES: &[&str] = &[
    "wsgi.py",
    "asgi.py",
    "app.py",
    "main.py",
    "application.py",
    "server.py",
    "__init__.py",
];
/// Classes whose instance is an app, what people call them, and whether it is ASGI.
const CLASSES: &[(&str, &str, bool)] = &[
    ("Flask", "Flask", false),
    ("FastAPI", "FastAPI", true),
    ("Starlette", "Starlette", true),
    ("Quart", "Quart", true),
    ("Litestar", "Litestar", true),
    ("Sanic", "Sanic", true),
    ("APIFlask", "APIFlask", false),
    ("Dash", "Dash", false),
    ("Bottle", "Bottle", false),
    ("bottle.default_app", "Bottle", false),
    ("make_wsgi_app", "Pyramid", false),
    ("ProtocolTypeRouter", CHANNELS, true),
    ("socketio.ASGIApp", "Socket.IO", true),
    ("streamable_http_app", "MCP", true),
    ("http_app", "FastMCP", true),
    ("falcon.asgi.App", "Falcon", true),
    ("falcon.App", "Falcon", false),
    ("get_wsgi_application", "Django", false),
    ("get_asgi_application", "Django", true),
];
/// Its `asgi.py` stands before `wsgi.py`, which serves no WebSockets.
const CHANNELS: &str = "Django Channels";
/// What the app is called where a module has several objects that could be it.
const ATTRIBUTES: &[&str] = &["app", "application"];
/// Modules that are there for a server: whatever has the app's name in them is the app.
const ENTRANCES: &[&str] = &["wsgi.py", "asgi.py"];
/// Functions that make an app.
const FACTORIES: &[&str] = &["create_app", "make_app", "get_app"];

#[derive(Debug, Default)]
pub(super) struct Project {
    pub(super) app: Option<App>,
    pub(super) other_apps: Vec<App>,
    /// The interpreter of its virtualenv, from the project's directory.
    pub(super) python: Option<String>,
    /// The file by which Gunicorn is configured.
    pub(super) gunicorn: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    /// As `app` takes it.
    pub(super) name: String,
    /// Where its module is found; empty for the project's directory.
    pub(super) chdir: String,
    /// Where it was seen, from the project's directory; empty where it was named.
    pub(super) file: String,
    pub(super) framework: Option<&'static str>,
    pub(super) is_asgi: bool,
    rank: usize,
}

impl App {
    /// `app = "shop:app", Flask in shop.py`
    pub(super) fn told(&self) -> String {
        let framework = self.framework.unwrap_or("found");
        match self.file.as_str() {
            "" => format!("app = \"{}\"", self.name),
            file => format!("app = \"{}\", {framework} in {file}", self.name),
        }
    }
}

impl Project {
    pub(super) fn look(folder: &Path) -> Self {
        let mut apps: Vec<App> = python_files(folder)
            .iter()
            .filter_map(|path| app_in(folder, path))
            .collect();
        apps.sort_by_key(|app| app.rank);
        let mut apps = apps.into_iter();
        let app = apps.next();
        Self {
            python: python(folder, app.as_ref().map_or("", |app| &app.chdir)),
            app,
            other_apps: apps.take(4).collect(),
            gunicorn: gunicorn(folder),
        }
    }

    /// The app that somebody named, with what is known of it.
    pub(super) fn name_app(&mut self, folder: &Path, name: &str) {
        let mut found: Vec<App> = self.app.take().into_iter().collect();
        found.append(&mut self.other_apps);
        let unknown = App {
            name: name.to_owned(),
            chdir: home(folder, name, &found),
            file: String::new(),
            framework: None,
            is_asgi: false,
            rank: 0,
        };
        let is_named = |app: &App| in_full(&app.name) == in_full(name);
        let app = App {
            name: name.to_owned(),
            ..found.into_iter().find(is_named).unwrap_or(unknown)
        };
        self.python = python(folder, &app.chdir);
        self.app = Some(app);
    }
}

/// Looked for in the project's directory first, then where the app is imported from.
fn python(folder: &Path, chdir: &str) -> Option<String> {
    ["", chdir].into_iter().find_map(|home| {
        let mut paths = [".venv", "venv", "env"]
            .map(|environment| Path::new(home).join(environment).join("bin/python"))
            .into_iter();
        let found = paths.find(|path| folder.join(path).is_file())?;
        Some(found.display().to_string())
    })
}

/// `application` is what is looked for by itself.
fn in_full(app: &str) -> (&str, &str) {
    app.split_once(':').unwrap_or((app, "application"))
}

/// Where the module of an app is imported from: the project's directory, where it is in none of the others.
fn home(folder: &Path, app: &str, found: &[App]) -> String {
    let path = in_full(app).0.replace('.', "/");
    let has_module = |chdir: &&str| {
        let folder = folder.join(chdir);
        let is_file = |name: String| folder.join(name).is_file();
        is_file(format!("{path}.py")) || is_file(format!("{path}/__init__.py"))
    };
    let known = found.iter().map(|app| app.chdir.as_str());
    let mut homes = ["", "src"].into_iter().chain(known);
    homes.find(has_module).unwrap_or_default().to_owned()
}

fn gunicorn(folder: &Path) -> Option<&'static str> {
    if folder.join("gunicorn.conf.py").is_file() {
        return Some("gunicorn.conf.py");
    }
    let procfile = text_of(&folder.join("Procfile"))?;
    crate::migrate::Start::in_procfile(&procfile).map(|_| "Procfile")
}

/// Files that may hold an app, the nearest first.
fn python_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = VecDeque::from([(folder.to_owned(), 0)]);
    let mut seen = 0;
    while let Some((folder, depth)) = waiting.pop_front() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut entries: Vec<(String, bool)> = entries.filter_map(directory_or_module).collect();
        entries.sort();
        for (name, is_directory) in entries {
            seen += 1;
            if seen > SEEN_MAX {
                return found;
            }
            if !is_directory && (depth == 0 || MODULES.contains(&&*name)) {
                found.push(folder.join(name));
            } else if is_directory && depth < DEPTH_MAX && !is_skipped(&name) {
                waiting.push_back((folder.join(name), depth + 1));
            }
        }
    }
    found
}

/// Its name, and whether it is a directory; `None` for all other files, of which there may be any number.
fn directory_or_module(entry: fs::DirEntry) -> Option<(String, bool)> {
    let name = entry.file_name().into_string().ok()?;
    let kind = entry.file_type().ok()?;
    let is_module = kind.is_file() && name.ends_with(".py");
    (kind.is_dir() || is_module).then_some((name, kind.is_dir()))
}

fn is_skipped(name: &str) -> bool {
    name.starts_with(['.', '_']) || SKIPPED.contains(&name)
}

/// `None` too for what is too long to be read.
fn text_of(path: &Path) -> Option<String> {
    String::from_utf8(read_file(path, BYTES_MAX).ok()?).ok()
}

fn app_in(project: &Path, path: &Path) -> Option<App> {
    let is_entrance = |name: &str| ENTRANCES.contains(&name);
    let is_entrance = path.file_name()?.to_str().is_some_and(is_entrance);
    let found = object(&text_of(path)?, is_entrance)?;
    let (chdir, module) = module(project, path)?;
    let file = path.strip_prefix(project).ok()?;
    let depth = file.components().count();
    let name = file.file_name()?.to_str()?;
    let likely = match found.framework {
        Some(CHANNELS) => 0,
        _ => MODULES.iter().take_while(|module| **module != name).count() + 1,
    };
    Some(App {
        name: match (found.attribute.as_str(), found.framework) {
            ("application", _) => module,
            // Dash itself can be called only since its third version.
            (attribute, Some("Dash")) => format!("{module}:{attribute}.server"),
            (attribute, _) => format!("{module}:{attribute}"),
        },
        chdir,
        file: file.display().to_string(),
        framework: found.framework,
        is_asgi: found.is_asgi,
        rank: found.rank * 100 + depth * 10 + likely,
    })
}

/// The directory to import from and the module's name there: above the topmost package.
fn module(project: &Path, path: &Path) -> Option<(String, String)> {
    let stem = path.file_stem()?.to_str()?;
    let mut names = vec![stem];
    if stem == "__init__" {
        names.clear();
    }
    let mut folder = path.parent()?;
    // A package of Python 3 needs no `__init__.py`; one that has it must be imported as one.
    while folder != project && folder.join("__init__.py").is_file() {
        names.push(folder.file_name()?.to_str()?);
        folder = folder.parent()?;
    }
    let is_name =
        |name: &&str| !name.contains(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    names.reverse();
    let can_be_imported = !names.is_empty() && names.iter().all(is_name);
    let chdir = folder.strip_prefix(project).ok()?.display().to_string();
    can_be_imported.then(|| (chdir, names.join(".")))
}

/// The framework that a module imports.
fn imported(text: &str) -> Option<(&'static str, bool)> {
    let is_imported = |name: &str| {
        let name = name.to_lowercase();
        let lines = [
            format!("import {name}"),
            format!("from {name} "),
            format!("from {name}."),
        ];
        text.lines()
            .any(|line| lines.iter().any(|lead| line.starts_with(lead)))
    };
    let (_, framework, is_asgi) = CLASSES
        .iter()
        .find(|(_, framework, _)| is_imported(framework))?;
    Some((framework, *is_asgi))
}

#[derive(Debug)]
struct Object {
    attribute: String,
    framework: Option<&'static str>,
    is_asgi: bool,
    /// An object before a factory, and that before a bare function.
    rank: usize,
}

impl Object {
    /// One of which nothing more is known.
    fn called(attribute: &str) -> Self {
        Self {
            attribute: attribute.to_owned(),
            framework: None,
            is_asgi: false,
            rank: 0,
        }
    }
}

/// The likeliest app among the top-level names of a module: what is called an app last, for it may be the others in a wrapper.
fn object(text: &str, is_entrance: bool) -> Option<Object> {
    let instances: Vec<Object> = text.lines().filter_map(instance).collect();
    let named = (text.lines())
        .filter_map(|line| {
            instance(line)
                .or_else(|| made(line, &instances, is_entrance))
                .or_else(|| is_entrance.then(|| brought_in(line)).flatten())
        })
        .rfind(|object| ATTRIBUTES.contains(&&*object.attribute));
    let kind = instances
        .last()
        .map(|known| (known.framework, known.is_asgi));
    let functions = text.lines().filter_map(function);
    let mut object = named
        .or_else(|| instances.into_iter().next())
        .or_else(|| functions.min_by_key(|object| object.rank))?;
    if object.framework.is_none() {
        let imported = || imported(text).map(|(framework, is_asgi)| (Some(framework), is_asgi));
        (object.framework, object.is_asgi) =
            kind.or_else(imported).unwrap_or((None, object.is_asgi));
    }
    Some(object)
}

/// `app = create_app('production')`, `app = Wrapper(api)` where `api` is one of the instances; in an entrance a call of anything.
fn made(line: &str, instances: &[Object], is_entrance: bool) -> Option<Object> {
    let (names, call) = line.split_once('=')?;
    let (callee, arguments) = call.split_once('(')?;
    let function = callee.trim().rsplit('.').next()?;
    let mut words = arguments.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    let is_wrapper = arguments.is_empty() && !instances.is_empty()
        || words.any(|word| instances.iter().any(|known| known.attribute == word));
    let is_app = is_entrance || is_wrapper || FACTORIES.contains(&function);
    let name = names.split(':').next()?.trim_end();
    is_app.then(|| Object::called(name))
}

/// `from shop import app as application`
fn brought_in(line: &str) -> Option<Object> {
    let (_, names) = line.strip_prefix("from ")?.split_once(" import ")?;
    let last_word = |name: &str| name.split_whitespace().last().map(str::to_owned);
    let mut names = names.split(',').filter_map(last_word);
    let name = names.find(|name| ATTRIBUTES.contains(&&**name))?;
    Some(Object::called(&name))
}

/// `app = Flask(__name__)`, `app = application = Flask(__name__)`, `app: FastAPI = FastAPI()`
fn instance(line: &str) -> Option<Object> {
    let (head, _) = line.split_once('(')?;
    let (names, call) = head.rsplit_once('=')?;
    let mut names = names.split('=');
    let first = names.next()?;
    let attribute = first.split(':').next().unwrap_or(first).trim_end();
    let is_name = |name: &str| {
        let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        !name.is_empty() && name.chars().all(is_of_name)
    };
    let call = call.trim();
    let (_, framework, is_asgi) = CLASSES
        .iter()
        .find(|(class, _, _)| call == *class || call.ends_with(&format!(".{class}")))?;
    let is_app = is_name(attribute) && names.all(|name| is_name(name.trim()));
    is_app.then(|| Object {
        attribute: attribute.to_owned(),
        framework: Some(framework),
        is_asgi: *is_asgi,
        rank: 0,
    })
}

/// `def create_app(`, `def application(environ, start_response)`, `async def app(scope, receive, send)`
fn function(line: &str) -> Option<Object> {
    let is_asgi = line.starts_with("async def ");
    let rest = line
        .strip_prefix("async ")
        .unwrap_or(line)
        .strip_prefix("def ")?;
    let (name, arguments) = rest.split_once('(')?;
    let is_factory = !is_asgi && FACTORIES.contains(&name);
    let is_app = match is_asgi {
        true => arguments.starts_with("scope, receive, send"),
        false => name == "application" || (name == "app" && arguments.matches(',').count() == 1),
    };
    (is_factory || is_app).then(|| Object {
        attribute: match is_factory {
            true => format!("{name}()"),
            false => name.to_owned(),
        },
        framework: None,
        is_asgi,
        rank: if is_factory { 1 } else { 2 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[(&str, &str)]) -> Project {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Project::look(folder.path())
    }

    fn app(files: &[(&str, &str)]) -> (String, String) {
        let app = look(files).app.unwrap();
        (app.name, app.chdir)
    }

    const DJANGO: &str = "import os\napplication = get_wsgi_application()\n";

    #[test]
    fn apps_of_all_kinds_are_found() {
        let named = |name: &str, chdir: &str| (name.to_owned(), chdir.to_owned());
        assert_eq!(
            app(&[("app.py", "app = Flask(__name__)\n")]),
            named("app:app", "")
        );
        assert_eq!(
            app(&[
                ("src/shop/__init__.py", ""),
                (
                    "src/shop/main.py",
                    "api: FastAPI = fastapi.FastAPI(title='x')\n"
                )
            ]),
            named("shop.main:api", "src")
        );
        assert_eq!(
            app(&[(
                "shop/__init__.py",
                "import flask\n\n\ndef create_app(kind=None):\n"
            )]),
            named("shop:create_app()", "")
        );
        assert_eq!(
            app(&[
                ("manage.py", ""),
                ("mysite/__init__.py", ""),
                ("mysite/asgi.py", "application = get_asgi_application()\n"),
                ("mysite/wsgi.py", DJANGO),
            ]),
            named("mysite.wsgi", "")
        );
        assert_eq!(
            app(&[("app.py", "app = application = Flask(__name__)\n")]),
            named("app:app", "")
        );
        assert_eq!(
            app(&[("plain.py", "async def app(scope, receive, send):\n")]),
            named("plain:app", "")
        );
    }

    #[test]
    fn what_a_project_means_to_be_served_is_taken() {
        let channels = "http = get_asgi_application()\n\napplication = ProtocolTypeRouter(\n    {'http': http}\n)\n";
        let factory =
            "from flask import Flask\n\n\ndef create_app(kind):\n    app = Flask(__name__)\n";
        for (files, name, is_asgi) in [
            (
                &[
                    ("site1/__init__.py", ""),
                    ("site1/wsgi.py", DJANGO),
                    ("site1/asgi.py", channels),
                ][..],
                "site1.asgi",
                true,
            ),
            (
                &[
                    ("site1/__init__.py", ""),
                    ("site1/wsgi.py", DJANGO),
                    ("site1/asgi.py", "application = get_asgi_application()\n"),
                ],
                "site1.wsgi",
                false,
            ),
            (
                &[
                    ("shop/__init__.py", factory),
                    (
                        "wsgi.py",
                        "from shop import create_app\n\napplication = create_app('production')\n",
                    ),
                ],
                "wsgi",
                false,
            ),
            (
                &[
                    ("shop/__init__.py", "app = Flask(__name__)\n"),
                    ("wsgi.py", "from shop import db, app as application\n"),
                ],
                "wsgi",
                false,
            ),
            (
                &[
                    ("shop/__init__.py", factory),
                    (
                        "microblog.py",
                        "from shop import create_app\n\napp = create_app('x')\n",
                    ),
                ],
                "microblog:app",
                false,
            ),
            (
                &[(
                    "main.py",
                    "api = FastAPI()\nsio = AsyncServer()\napp = Wrapper(sio, api)\n",
                )],
                "main:app",
                true,
            ),
            (
                &[(
                    "main.py",
                    "api = FastAPI()\napp = socketio.ASGIApp(\n    sio,\n)\n",
                )],
                "main:app",
                true,
            ),
            (
                &[("main.py", "api = FastAPI()\napp = typer.Typer()\n")],
                "main:api",
                true,
            ),
            (
                &[("app.py", "app = Dash(__name__)\n")],
                "app:app.server",
                false,
            ),
            (
                &[("app.py", "app = bottle.default_app()\n")],
                "app:app",
                false,
            ),
        ] {
            let found = look(files).app.unwrap();
            assert_eq!((&*found.name, found.is_asgi), (name, is_asgi), "{files:?}");
        }
        let clients = look(&[
            ("main.py", "app = typer.Typer()\n"),
            ("worker.py", "app = Celery('x')\n"),
        ]);
        assert_eq!(clients.app, None);
    }

    #[test]
    fn a_virtualenv_beside_the_app_is_found() {
        let found = look(&[
            ("backend/app.py", "app = Flask(__name__)\n"),
            ("backend/.venv/bin/python", ""),
        ]);
        assert_eq!(found.python.as_deref(), Some("backend/.venv/bin/python"));
        let text = super::super::starter::text(&found, &found.app.clone().unwrap());
        assert!(
            text.contains("\nchdir = \"backend\"\n")
                && text.contains("\npython = \".venv/bin/python\"\n")
        );
    }

    #[test]
    fn what_is_not_the_projects_is_not_looked_at() {
        let found = look(&[
            ("venv/lib/app.py", "app = Flask(__name__)\n"),
            ("tests/app.py", "app = Flask(__name__)\n"),
            ("a/b/c/d/app.py", "app = Flask(__name__)\n"),
            (
                "other.py",
                "    app = Flask(__name__)\nx == Flask()\nprint(Flask)\n",
            ),
        ]);
        assert_eq!(found.app, None);
    }

    #[test]
    fn the_nearest_is_found_beside_any_number_of_other_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["media/a", "config"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("config/__init__.py"), "").unwrap();
        fs::write(folder.path().join("config/wsgi.py"), DJANGO).unwrap();
        for number in 0..=SEEN_MAX {
            fs::write(folder.path().join(format!("media/{number}.jpg")), "").unwrap();
            fs::create_dir(folder.path().join(format!("media/a/{number}"))).unwrap();
        }
        let app = Project::look(folder.path()).app.unwrap();
        assert_eq!(app.name, "config.wsgi");
    }

    #[test]
    fn an_app_that_is_named_is_imported_from_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src/shop")).unwrap();
        fs::write(folder.path().join("src/shop/__init__.py"), "").unwrap();
        let text = "api = FastAPI()\nmade = build()\n";
        fs::write(folder.path().join("src/shop/main.py"), text).unwrap();
        fs::write(folder.path().join("site.py"), "").unwrap();
        for (name, chdir, is_asgi) in [
            ("shop.main:api", "src", true),
            ("shop.main:made", "src", false),
            ("shop:app", "src", false),
            ("site:app", "", false),
            ("elsewhere:app", "", false),
        ] {
            let mut project = Project::look(folder.path());
            project.name_app(folder.path(), name);
            let app = project.app.unwrap();
            assert_eq!(
                (&*app.name, &*app.chdir, app.is_asgi),
                (name, chdir, is_asgi)
            );
        }
    }

    #[test]
    fn gunicorns_configuration_and_the_virtualenv_are_seen() {
        let found = look(&[
            ("Procfile", "web: gunicorn app:app\n"),
            ("venv/bin/python", ""),
        ]);
        assert_eq!(found.gunicorn, Some("Procfile"));
        assert_eq!(found.python.as_deref(), Some("venv/bin/python"));
        assert_eq!(
            look(&[("Procfile", "web: uvicorn app:app\n")]).gunicorn,
            None
        );
    }
}
