//! Where the engine is: the extension module that the configured interpreter loads.
//!
//! It was built together with this binary and speaks the same messages, so it is only looked for where this binary's
//! own build or package puts it, never on a search path.

use std::{
    io,
    path::{Path, PathBuf},
};

/// As cargo names the library, beside the binary in `target/…/`, where `cargo build` puts it, and in `deps`, where
/// `cargo run` and `cargo test` leave it (they do not copy a cdylib that the binary was not linked to). The newer one is of
/// the last build.
const BUILT: [&str; 2] = ["librgunicorn.so", "deps/librgunicorn.so"];
/// As the wheel installs it, below `site-packages`.
const INSTALLED: &str = "rgunicorn/_engine.abi3.so";

/// Why there is no engine to load.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "the engine is missing: there is none of {}; keep `librgunicorn.so` beside the program, as `cargo build` makes it, or install rgunicorn with pip",
        listed(tried)
    )]
    Missing { tried: Vec<PathBuf> },
    #[error("this program cannot tell where it is installed")]
    NoOwnPath(#[source] io::Error),
}

/// The engine that belongs to the running binary.
pub fn find() -> Result<PathBuf, EngineError> {
    let binary = std::env::current_exe().map_err(EngineError::NoOwnPath)?;
    find_for(&binary)
}

fn find_for(binary: &Path) -> Result<PathBuf, EngineError> {
    let folder = binary.parent().unwrap_or(Path::new("/"));
    let built = BUILT.map(|name| folder.join(name));
    let installed: Vec<PathBuf> = site_packages(folder)
        .map(|packages| packages.join(INSTALLED))
        .collect();
    let newest_built = built
        .iter()
        .filter(|path| path.is_file())
        .max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok());
    let mut found = newest_built
        .into_iter()
        .chain(installed.iter().filter(|path| path.is_file()));
    match found.next() {
        Some(path) => Ok(path.clone()),
        None => Err(EngineError::Missing {
            tried: built.iter().chain(&installed).cloned().collect(),
        }),
    }
}

/// The package folders of the environment whose `bin` this is: `lib/python3.X/site-packages`, `dist-packages` on Debian,
/// and `lib64` on Fedora.
fn site_packages(bin: &Path) -> impl Iterator<Item = PathBuf> {
    let environment = bin.parent().unwrap_or(bin).to_owned();
    let libraries = ["lib", "lib64"].map(|name| environment.join(name));
    let mut pythons: Vec<PathBuf> = libraries
        .iter()
        .filter_map(|library| library.read_dir().ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"python3"))
        .map(|entry| entry.path())
        .collect();
    pythons.sort();
    pythons
        .into_iter()
        .flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.join(packages)))
}

fn listed(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn a_build_finds_the_library_beside_the_binary() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("target/release/librgunicorn.so");
        touch(&engine);
        let binary = folder.path().join("target/release/rgunicorn");
        assert_eq!(find_for(&binary).unwrap(), engine);
    }

    #[test]
    fn the_library_of_the_last_build_is_taken_wherever_cargo_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let copied = folder.path().join("librgunicorn.so");
        let fresh = folder.path().join("deps/librgunicorn.so");
        touch(&copied);
        touch(&fresh);
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::open(&fresh)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(find_for(&folder.path().join("rgunicorn")).unwrap(), fresh);
    }

    #[test]
    fn an_installation_finds_it_in_its_environment() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder
            .path()
            .join("venv/lib/python3.12/site-packages/rgunicorn/_engine.abi3.so");
        touch(&engine);
        let binary = folder.path().join("venv/bin/rgunicorn");
        assert_eq!(find_for(&binary).unwrap(), engine);
    }

    #[test]
    fn a_missing_engine_is_told_with_the_places_tried() {
        let folder = tempfile::tempdir().unwrap();
        let problem = find_for(&folder.path().join("bin/rgunicorn")).unwrap_err();
        let place = folder.path().join("bin/librgunicorn.so");
        assert!(problem.to_string().contains(place.to_str().unwrap()));
    }
}
