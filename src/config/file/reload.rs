//! `[reload]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::Time;

use super::{Amount, HealthCheck, Texts, schemas};

/// When the configuration and the code are taken up anew. A change that is wrong leaves everything as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Watch this file and apply each change of it.
    ///
    /// On by default. Where a deployment writes several files, turn it off and send HUP when all are in place.
    #[schemars(example = false)]
    pub watch: bool,

    /// Files whose change rolls in new code: glob patterns relative to `chdir`, one or a list. `**` crosses directories.
    ///
    /// Empty by default: in production code changes with a deployment, which sends HUP when it is complete. In
    /// development, `"**/*.py"` is the thing.
    ///
    /// An absolute path is one below `chdir`; what is elsewhere, or a directory, is refused, because it would match nothing. For
    /// all files of a directory write `"templates/**"`.
    #[schemars(schema_with = "schemas::texts", example = &"**/*.py", example = ["src/**/*.py", "templates/**"])]
    pub code: Texts,

    /// Files that `reload.code` matches and whose change means nothing all the same: patterns relative to `chdir`, one or a list.
    ///
    /// Directories that match are not watched at all. Hidden ones, `__pycache__`, `node_modules` and `site-packages`
    /// never are.
    #[schemars(schema_with = "schemas::texts", example = &"**/tests/**", example = ["var", "**/migrations/*.py"])]
    pub ignore: Texts,

    /// A file, relative to `chdir`: when it is made or touched, new code is rolled in, as HUP does.
    ///
    /// For deployments that may write files but send no signals: `touch tmp/restart.txt`. There is none by default.
    #[schemars(extend("minLength" = 1), example = &"tmp/restart.txt")]
    pub touch: Option<String>,

    /// How long files must be quiet before a change counts: 10ms to 1m.
    ///
    /// Editors write in several steps and `git checkout` many files; the default waits that out and is not felt. What comes
    /// later than that is another change, which takes the place of the one before.
    #[schemars(extend("minimum" = 0.01, "maximum" = 60), example = &"1s")]
    pub debounce: Time,

    /// How many workers a roll may start beyond `workers` at once: a number from 1 to 256, or per cent of `workers`, rounded up.
    ///
    /// The default is Kubernetes': a quarter more memory and CPU while a roll lasts. `"100%"` is the fastest.
    #[schemars(schema_with = "schemas::surge", example = 1, example = &"50%")]
    pub surge: Amount,

    /// What each new worker has to answer before it takes connections: a path, or a table with `path`, `host`, `status`, `tries` and `timeout`.
    ///
    /// Off by default. The request goes through the server and the app as a client's would, without a network. A status
    /// of 2xx or 3xx counts, or the one `status` names. The worker is asked up to 3 times, for 5s each; one that fails is
    /// not ready, so the reload is rejected and the old workers go on. `host` is the `Host` header, `localhost` unless
    /// given: Django wants it in `ALLOWED_HOSTS`.
    #[schemars(
        schema_with = "HealthCheck::schema",
        example = &"/healthz",
        example = serde_json::json!({ "path": "/healthz", "host": "example.org", "status": 200, "tries": 5, "timeout": "2s" })
    )]
    pub health_check: Option<HealthCheck>,

    /// How long a reload is watched once it is done, and taken back if it turns out bad: up to 1h, 0 for not at all.
    ///
    /// Bad is: two workers died or got stuck, one could not be replaced, or the share of 5xx answers more than doubled
    /// (of at least 10 answers, 5 must be errors, and 5 per cent more than that). Then the generation before comes back
    /// from its process, which is kept so long (the memory of one more process), and the log says which keys are not in
    /// force. This file is not touched; the next save starts from what serves. With `preload` the old code comes back
    /// too; without, workers import what is on disk. A change of addresses is not taken back. Off by default; `"30s"`
    /// suits a site with steady traffic.
    #[schemars(extend("maximum" = 3600), example = &"30s")]
    pub probation: Time,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            watch: true,
            code: Texts(Vec::new()),
            ignore: Texts(Vec::new()),
            touch: None,
            debounce: Time(std::time::Duration::from_millis(50)),
            surge: Amount::PerCent(25),
            health_check: None,
            probation: Time::seconds(0),
        }
    }
}
