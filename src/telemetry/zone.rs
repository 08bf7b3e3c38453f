//! The time zone of all lines of the logs.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use jiff::tz::TimeZone;

const LOCAL: &str = "/etc/localtime";
const FOLDER: &str = "/usr/share/zoneinfo";

/// Read once, by the parent of the workers, who share it.
pub fn zone() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(find)
}

/// The library would look for the name of the zone, too, and keep a list of all zones that there are for it: 100 KiB.
fn find() -> TimeZone {
    let file = file(
        env::var_os("TZ").as_deref(),
        env::var_os("TZDIR").as_deref(),
    );
    let zone = fs::read(file)
        .ok()
        .and_then(|data| TimeZone::tzif("", &data).ok());
    // `TZ` may be a rule (`IST-5:30`) and no file.
    zone.unwrap_or_else(TimeZone::system)
}

/// Where the zone is written, most often.
fn file(name: Option<&OsStr>, folder: Option<&OsStr>) -> PathBuf {
    match name {
        Some(name) => Path::new(folder.unwrap_or(OsStr::new(FOLDER))).join(name),
        None => LOCAL.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_that_tz_names_below_the_folder_or_the_machines_own() {
        let file = |name: Option<&str>, folder: Option<&str>| {
            super::file(name.map(OsStr::new), folder.map(OsStr::new))
        };
        let berlin = Some("Europe/Berlin");
        assert_eq!(file(None, None), Path::new("/etc/localtime"));
        assert_eq!(
            file(berlin, None),
            Path::new("/usr/share/zoneinfo/Europe/Berlin")
        );
        assert_eq!(
            file(berlin, Some("/zones")),
            Path::new("/zones/Europe/Berlin")
        );
        assert_eq!(file(Some("/my/zone"), None), Path::new("/my/zone"));
    }
}
