//! One reading of the configuration with all that it needs, checked and opened before anything that runs is touched.

use std::{io, path::PathBuf, rc::Rc, sync::Arc};

use super::{
    causes::with_causes,
    core::{Moment, Rules},
    engine::{self, EngineError},
    interpreter::{self, Interpreter, InterpreterError},
    listeners::{ListenError, ListenerId, Listeners},
};
use crate::{
    config::{Config, EffectiveValue, LiveConfig, Loaded, LogTarget, Origins, SyslogAddress},
    sys::{Identity, IdentityError},
    telemetry::{Owner, Sink},
    wire::{LiveError, LivePage, SLOTS_MAX},
};

/// Half of the scoreboard, so that a roll always has room.
const WORKERS_MAX: u16 = (SLOTS_MAX / 2) as u16;

/// Why a configuration that is right in itself cannot be had on this machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("cannot listen: {0}")]
    Listen(#[from] ListenError),
    #[error("no interpreter: {0}")]
    Interpreter(#[from] InterpreterError),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("`chdir`: there is no directory `{}`", path.display())]
    Directory { path: PathBuf },
    #[error("`{key}`: `{}` cannot be opened: {source}", path.display())]
    Log {
        key: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("`workers` is {workers}; this build serves with {WORKERS_MAX} at most")]
    TooManyWorkers { workers: u16 },
}

/// What a generation is started with. Live changes give another reading with the same resources.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) config: Rc<Config>,
    /// The same with the origins, for the admin interface.
    pub(super) effective: Arc<[EffectiveValue]>,
    pub(super) resources: Rc<Resources>,
    /// What was read differently, or why all is the same: for the log.
    pub(super) told: String,
    pub(super) began: Moment,
}

#[derive(Debug)]
pub(super) struct Resources {
    pub(super) interpreter: Interpreter,
    pub(super) engine: PathBuf,
    pub(super) identity: Option<Identity>,
    pub(super) listeners: Vec<ListenerId>,
}

impl Unfit {
    /// All of it on one line: what does not fit, where that was written, and what helps.
    pub(super) fn told(&self, origins: &Origins) -> String {
        let place = self.key().and_then(|key| origins.get(key));
        let place = place.map_or(String::new(), |origin| format!(" ({origin})"));
        let help = self
            .help()
            .map_or(String::new(), |help| format!("; {help}"));
        format!("{}{place}{help}", with_causes(self))
    }

    /// The key that asks for what cannot be had.
    fn key(&self) -> Option<&'static str> {
        match self {
            Self::Listen(_) => Some("bind"),
            Self::Interpreter(error) => Some(error.key()),
            Self::Engine(_) => None,
            Self::Identity(IdentityError::NoGroup { .. }) => Some("group"),
            Self::Identity(_) => Some("user"),
            Self::Directory { .. } => Some("chdir"),
            Self::Log { key, .. } => Some(key),
            Self::Live(_) => None,
            Self::TooManyWorkers { .. } => Some("workers"),
        }
    }

    fn help(&self) -> Option<&'static str> {
        match self {
            Self::Listen(ListenError::InUse { .. }) => {
                Some("stop the one who listens there, or take another address")
            }
            Self::Listen(ListenError::Denied { .. }) => {
                Some("start as root, or take a port from 1024 on")
            }
            Self::Listen(ListenError::NotASocket { .. }) => {
                Some("move it away, or take another path")
            }
            Self::Listen(ListenError::Os { source, .. }) => lacking_address(source),
            Self::Interpreter(error) => error.help(),
            Self::Directory { .. } => Some("make it, or name another"),
            Self::Log { .. } => Some("name a file that the server may write, or \"stderr\""),
            Self::TooManyWorkers { .. } => Some("take fewer, with more `threads`"),
            Self::Listen(_) | Self::Engine(_) | Self::Identity(_) | Self::Live(_) => None,
        }
    }
}

/// What an address that cannot be bound is about, where the error of bind(2) or socket(2) does not say it.
fn lacking_address(problem: &io::Error) -> Option<&'static str> {
    match problem.raw_os_error()? {
        libc::EADDRNOTAVAIL => Some(
            "no network interface here has this address: `ip address` lists those there are, IPv6 may be off",
        ),
        libc::EAFNOSUPPORT => Some(
            "there is no IPv6 here: the kernel has none, or a unit forbids it (`RestrictAddressFamilies=`)",
        ),
        _ => None,
    }
}

impl Resources {
    /// Opens and checks all of it. After an error the listeners are as they were.
    pub(super) fn open(loaded: &Loaded, listeners: &mut Listeners) -> Result<Self, Unfit> {
        let config = &loaded.config;
        check_room(config)?;
        let identity = Identity::resolve(config.user.as_deref(), config.group.as_deref())?;
        let engine = engine::find()?;
        let interpreter = interpreter::find(config, identity.as_ref())?;
        open_logs_once(config, identity.as_ref())?;
        let is_bind_written = loaded.origins.keys().any(|key| key == "bind");
        let listeners = listeners
            .open(config, is_bind_written, identity.as_ref())?
            .ids;
        Ok(Self {
            interpreter,
            engine,
            identity,
            listeners,
        })
    }

    /// Whether they do for `now` too, which differs from what they were opened for by nothing that asks for a roll.
    pub(super) fn suit(&self, before: &Config, now: &Config) -> Result<(), Unfit> {
        check_room(now)?;
        let targets = |config: &Config| (config.log.access.clone(), config.log.error.clone());
        if targets(before) != targets(now) {
            open_logs_once(now, self.identity.as_ref())?;
        }
        Ok(())
    }
}

/// Whether there is room for it, as far as can be told without touching anything.
pub(super) fn check_room(config: &Config) -> Result<(), Unfit> {
    if config.workers > WORKERS_MAX {
        let workers = config.workers;
        return Err(Unfit::TooManyWorkers { workers });
    }
    if !config.chdir.is_dir() {
        let path = config.chdir.clone();
        return Err(Unfit::Directory { path });
    }
    Ok(LivePage::check(&LiveConfig::of(config))?)
}

/// Whether the logs can be opened: their files are there after this.
pub(super) fn open_logs_once(config: &Config, identity: Option<&Identity>) -> Result<(), Unfit> {
    for (key, target) in [
        ("log.access", &config.log.access),
        ("log.error", &config.log.error),
    ] {
        open_log(key, target, identity)?;
    }
    Ok(())
}

/// Opens a log for generations to inherit.
pub(super) fn open_log(
    key: &'static str,
    target: &LogTarget,
    identity: Option<&Identity>,
) -> Result<Option<Sink>, Unfit> {
    Sink::open(target, owner(identity)).map_err(|source| unfit_log(key, target, source))
}

pub(super) fn unfit_log(key: &'static str, target: &LogTarget, source: io::Error) -> Unfit {
    Unfit::Log {
        key,
        path: match target {
            LogTarget::File(path) => path.clone(),
            LogTarget::Syslog(SyslogAddress::Local(path)) | LogTarget::Journald(path) => {
                path.clone()
            }
            LogTarget::Syslog(SyslogAddress::Udp { host, port }) => format!("{host}:{port}").into(),
            LogTarget::Off | LogTarget::Stdout | LogTarget::Stderr => PathBuf::new(),
        },
        source,
    }
}

/// User and group of files that workers use; `None`: the arbiter's own.
pub(super) fn owner(identity: Option<&Identity>) -> Option<Owner> {
    let identity = identity?;
    let user = identity
        .user_id()
        .unwrap_or_else(|| nix::unistd::geteuid().as_raw());
    Some((user, identity.group_id()))
}

/// The user that workers run as, where the arbiter runs as another: links of that user's are not simply followed.
pub(super) fn distrusted(identity: Option<&Identity>) -> Option<u32> {
    let user = identity?.user_id()?;
    (user != nix::unistd::geteuid().as_raw()).then_some(user)
}

/// What the core has to know of a configuration.
pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        workers: config.workers,
        surge: config.reload.surge.max(1),
        boot: config.timeouts.boot,
        graceful: config.timeouts.graceful,
        stall: config.timeouts.worker,
        probation: config.reload.probation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut loaded = Loaded {
            config: crate::arbiter::tests::config(),
            origins: Origins::new(),
            notes: Vec::new(),
        };
        change(&mut loaded.config);
        let place = Origin::File {
            path: "rgunicorn.toml".into(),
            line: 7,
        };
        for key in ["chdir", "workers"] {
            loaded.origins.insert(key.to_owned(), place.clone());
        }
        let unfit = Resources::open(&loaded, &mut Listeners::default()).unwrap_err();
        unfit.told(&loaded.origins)
    }

    #[test]
    fn what_this_machine_does_not_have_is_told_by_its_key() {
        assert_eq!(
            refused(|config| config.chdir = "/no/such/place".into()),
            "`chdir`: there is no directory `/no/such/place` (rgunicorn.toml:7); make it, or name another"
        );
        assert_eq!(
            refused(|config| config.user = Some("no-such-user-here".to_owned())),
            "there is no user `no-such-user-here` on this system"
        );
        assert!(refused(|config| config.workers = 5000).contains("512 at most"));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_told_by_its_key() {
        let target = LogTarget::File("/no/such/place/access.log".into());
        let problem = open_log("log.access", &target, None).unwrap_err();
        assert_eq!(
            with_causes(&problem),
            "`log.access`: `/no/such/place/access.log` cannot be opened: No such file or directory (os error 2)"
        );
    }
}
