//! Whom a process runs as: `user` and `group` of the configuration, resolved to ids.
//!
//! Names are looked up in the arbiter, where a mistake can be reported; the forked child only makes three system calls.

use std::{
    ffi::CString,
    io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    errno::Errno,
    unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist},
};

/// Ids to take on. The supplementary groups are the user's, so that nothing of root's groups remains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: Option<Uid>,
    group: Gid,
    groups: Vec<Gid>,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("there is no user `{name}` on this system")]
    NoUser { name: String },
    #[error("there is no group `{name}` on this system")]
    NoGroup { name: String },
    #[error("running as {wanted} needs a server that is started as root")]
    NotRoot { wanted: String },
    #[error("looking up {what} failed")]
    Lookup {
        what: String,
        #[source]
        source: io::Error,
    },
}

impl Identity {
    /// Resolves names or numeric ids. `None` when nothing is to change: nothing is configured, or we run so already.
    pub fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, IdentityError> {
        let account = user.map(find_user).transpose()?;
        let named_group = group.map(find_group).transpose()?;
        let Some(group_id) = named_group.or(account.as_ref().map(|account| account.group)) else {
            return Ok(None);
        };
        let user_id = account.as_ref().map(|account| account.user);
        if !geteuid().is_root() {
            let user_is_ours = user_id.is_none_or(|id| id == geteuid());
            let group_is_ours = named_group.is_none_or(|id| id == getegid());
            if user_is_ours && group_is_ours {
                return Ok(None);
            }
            let wanted = match (user, group) {
                (Some(user), _) if !user_is_ours => format!("user `{user}`"),
                (_, group) => format!("group `{}`", group.unwrap_or_default()),
            };
            return Err(IdentityError::NotRoot { wanted });
        }
        Ok(Some(Self {
            user: user_id,
            group: group_id,
            groups: match account.and_then(|account| account.name) {
                Some(name) => groups_of(&name, group_id)?,
                None => vec![group_id],
            },
        }))
    }

    /// The user whose files these will be; `None`: the user stays.
    pub fn user_id(&self) -> Option<u32> {
        self.user.map(Uid::as_raw)
    }

    pub fn group_id(&self) -> u32 {
        self.group.as_raw()
    }

    /// The first folder on the way to a file or folder that this identity may not enter, links followed, as far as the
    /// permission bits tell.
    pub fn barrier(&self, path: &Path) -> Option<PathBuf> {
        let user = self.user.filter(|user| !user.is_root())?;
        let target = path.canonicalize().ok();
        let ways = [Some(path.to_owned()), target];
        let folders = ways.iter().flatten().flat_map(|way| {
            let folders: Vec<_> = way.ancestors().filter(|step| step.is_dir()).collect();
            folders.into_iter().rev()
        });
        let is_closed = |folder: &&Path| {
            folder.metadata().is_ok_and(|metadata| {
                let bit = if metadata.uid() == user.as_raw() {
                    0o100
                } else if self.groups.contains(&Gid::from_raw(metadata.gid())) {
                    0o010
                } else {
                    0o001
                };
                metadata.mode() & bit == 0
            })
        };
        folders.into_iter().find(is_closed).map(Path::to_owned)
    }

    /// Has a command take it on before it executes its program.
    pub fn give_to(self, command: &mut Command) {
        // SAFETY: what runs between fork and exec makes system calls only; it neither allocates nor takes a lock. The closure
        // owns what it uses.
        unsafe { command.pre_exec(move || self.assume()) };
    }

    /// Takes the identity on, for good. Async-signal-safe: made to run between fork and exec.
    pub fn assume(&self) -> io::Result<()> {
        nix::unistd::setgroups(&self.groups)?;
        nix::unistd::setgid(self.group)?;
        if let Some(user) = self.user {
            nix::unistd::setuid(user)?;
        }
        Ok(())
    }
}

struct Account {
    user: Uid,
    group: Gid,
    /// Absent for a bare number that no account has.
    name: Option<CString>,
}

/// Whether there is a user of this name.
pub fn has_user(name: &str) -> io::Result<bool> {
    Ok(entry(User::from_name(name))?.is_some())
}

/// Whether there is a group of this name.
pub fn has_group(name: &str) -> io::Result<bool> {
    Ok(entry(Group::from_name(name))?.is_some())
}

fn find_user(name: &str) -> Result<Account, IdentityError> {
    let number = name.parse().ok().map(Uid::from_raw);
    let found = match number {
        Some(id) => User::from_uid(id),
        None => User::from_name(name),
    };
    let found = entry(found).map_err(|errno| lookup_failed(format!("user `{name}`"), errno))?;
    match (found, number) {
        (Some(user), _) => Ok(Account {
            user: user.uid,
            group: user.gid,
            name: CString::new(user.name).ok(),
        }),
        (None, Some(id)) => Ok(Account {
            user: id,
            group: Gid::from_raw(id.as_raw()),
            name: None,
        }),
        (None, None) => Err(IdentityError::NoUser {
            name: name.to_owned(),
        }),
    }
}

fn find_group(name: &str) -> Result<Gid, IdentityError> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match entry(Group::from_name(name)) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(IdentityError::NoGroup {
            name: name.to_owned(),
        }),
        Err(errno) => Err(lookup_failed(format!("group `{name}`"), errno)),
    }
}

/// What was found. A database that is not there, as in an image without `/etc/passwd`, has no entries: getpwnam(3) lists these errors
/// for "not found".
fn entry<T>(found: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        found => found,
    }
}

fn groups_of(name: &CString, group: Gid) -> Result<Vec<Gid>, IdentityError> {
    getgrouplist(name, group).map_err(|errno| {
        lookup_failed(format!("the groups of `{}`", name.to_string_lossy()), errno)
    })
}

fn lookup_failed(what: String, errno: Errno) -> IdentityError {
    IdentityError::Lookup {
        what,
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_has_is_told() {
        let problem = Identity::resolve(Some("no-such-user-here"), None).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "there is no user `no-such-user-here` on this system"
        );
        let problem = Identity::resolve(None, Some("no-such-group-here")).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "there is no group `no-such-group-here` on this system"
        );
    }

    #[test]
    fn a_folder_that_is_closed_to_a_user_is_found() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let set_mode = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        let closed = root.path().join("closed");
        let inner = closed.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        set_mode(root.path(), 0o755);
        set_mode(&closed, 0o700);
        let nobody = Identity {
            user: Some(Uid::from_raw(65_534)),
            group: Gid::from_raw(65_534),
            groups: vec![Gid::from_raw(65_534)],
        };
        assert_eq!(nobody.barrier(&inner), Some(closed.clone()));
        assert_eq!(nobody.barrier(&link), Some(closed.canonicalize().unwrap()));
        assert_eq!(nobody.barrier(root.path()), None);
        set_mode(&closed, 0o711);
        assert_eq!(nobody.barrier(&link), None);
    }

    #[test]
    fn nothing_configured_changes_nothing() {
        assert_eq!(Identity::resolve(None, None).unwrap(), None);
    }
}
