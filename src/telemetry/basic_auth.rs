//! Who a request with `Authorization: Basic …` says that it comes from (RFC 7617).

/// The name, if there is one. The password never leaves this function.
pub(super) fn user_name(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    before_colon(credentials.trim_ascii()).filter(|name| !name.is_empty())
}

/// What stands before the colon in base64; `None` when it is not base64 or has no colon.
fn before_colon(credentials: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0_u32, 0);
    let mut name = Vec::new();
    for digit in credentials {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            match (bits >> held) as u8 {
                b':' => return Some(name),
                byte => name.push(byte),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_told_without_the_password_and_never_guessed() {
        let user_of = |value| user_name(value).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(
            user_of(b"Basic QW5uIExlZTpzZWNyZXQ=").as_deref(),
            Some("Ann Lee")
        );
        assert_eq!(user_of(b"Basic QW5u"), None, "no colon");
        assert_eq!(user_of(b"Basic QW5u\xff"), None, "not base64");
        assert_eq!(user_of(b"Basic OnNlY3JldA=="), None, "an empty name");
        assert_eq!(user_of(b"Bearer QW5uOng="), None);
        assert_eq!(user_of(b"x"), None);
    }
}
