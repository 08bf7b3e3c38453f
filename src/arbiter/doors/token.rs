//! What those who ask over TCP have to show.

use std::path::Path;

use crate::{
    config::{self, Secret},
    sys::read_file,
    warning,
};

/// As the configuration has it for `admin.token`.
const TOKEN_CHARS_MIN: usize = 16;
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Of the configuration or its file; `None`, with a warning, when there is none that can be used.
pub(super) fn token(wanted: &config::Admin) -> Option<Secret> {
    if let Some(token) = &wanted.token {
        return Some(token.clone());
    }
    let path = wanted.token_file.as_deref()?;
    match read_token(path) {
        Ok(token) => Some(token),
        Err(reason) => {
            warning!(
                "no admin interface on TCP: `admin.token_file`: `{}` {reason}",
                path.display()
            );
            None
        }
    }
}

fn read_token(path: &Path) -> Result<Secret, String> {
    let content = read_file(path, TOKEN_FILE_BYTES_MAX);
    let content = content.map_err(|error| format!("cannot be read: {error}"))?;
    let text = String::from_utf8(content).map_err(|_| "is not UTF-8".to_owned())?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN {
        return Err(format!("holds less than {TOKEN_CHARS_MIN} characters"));
    }
    Ok(Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_token_file_is_read_without_the_space_around_it_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_token(&path)
        };
        assert!(read("0123456789abcdef\n").unwrap().is(b"0123456789abcdef"));
        assert!(read("short\n").unwrap_err().contains("less than 16"));
        assert!(
            read(&"x".repeat(5000))
                .unwrap_err()
                .contains("larger than 4096 bytes")
        );
        assert!(read_token(Path::new("/no/such/file")).is_err());
        let endless = read_token(Path::new("/dev/zero")).unwrap_err();
        assert!(endless.contains("has to be a file"), "{endless}");
    }
}
