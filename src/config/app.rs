//! App references: `module`, `module:attribute`, `module:factory('argument', key=1)`.

use super::AppRef;

impl AppRef {
    /// The error is a sentence's rest that fits after "the app reference". Python itself reads the arguments later;
    /// here only their brackets and quotes are matched.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (module, rest) = match text.split_once(':') {
            Some((module, rest)) => (module, rest.trim()),
            None => (text, "application"),
        };
        if module.contains('/') || module.ends_with(".py") {
            return Err(format!(
                "names a file; write the module: `{}`",
                module
                    .trim_start_matches("./")
                    .trim_end_matches(".py")
                    .replace('/', ".")
            ));
        }
        if !is_dotted_name(module) {
            return Err(format!("has no module name in front: `{module}`"));
        }
        let (attribute, factory_arguments) = match rest.split_once('(') {
            Some((name, arguments)) => (name.trim_end(), Some(call_arguments(arguments)?)),
            None => (rest, None),
        };
        if !is_dotted_name(attribute) {
            return Err(format!(
                "has no attribute name after the colon: `{attribute}`"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            module: module.to_owned(),
            attribute: attribute.to_owned(),
            factory_arguments: factory_arguments.map(str::to_owned),
        })
    }
}

/// Names as Python has them, Unicode letters included, joined by single dots.
pub(super) fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|name| {
        let mut letters = name.chars();
        letters
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

/// What stands before the bracket that closes the call, which must be the last character.
fn call_arguments(text: &str) -> Result<&str, String> {
    let mut open = vec![')'];
    let mut quote: Option<char> = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (quote, letter) {
            (Some(_), '\\') => {
                letters.next();
            }
            (Some(closing), _) => quote = quote.filter(|_| letter != closing),
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => open.push(')'),
            (None, '[') => open.push(']'),
            (None, '{') => open.push('}'),
            (None, ')' | ']' | '}') => {
                if open.pop() != Some(letter) {
                    return Err(format!("has a `{letter}` that opens nowhere"));
                }
                if open.is_empty() {
                    let after = text[at + 1..].trim();
                    return match after {
                        "" => Ok(text[..at].trim()),
                        _ => Err(format!("goes on after its call: `{after}`")),
                    };
                }
            }
            (None, _) => {}
        }
    }
    match quote {
        Some(quote) => Err(format!("has a string that lacks its closing {quote}")),
        None => Err("has a call that lacks its closing `)`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Option<String>) {
        let app = AppRef::parse(text).unwrap();
        (app.module, app.attribute, app.factory_arguments)
    }

    fn owned(
        module: &str,
        attribute: &str,
        call: Option<&str>,
    ) -> (String, String, Option<String>) {
        (
            module.to_owned(),
            attribute.to_owned(),
            call.map(str::to_owned),
        )
    }

    #[test]
    fn the_attribute_is_application_unless_named() {
        assert_eq!(
            parts("mysite.wsgi"),
            owned("mysite.wsgi", "application", None)
        );
        assert_eq!(
            parts("app:app.wsgi_app"),
            owned("app", "app.wsgi_app", None)
        );
    }

    #[test]
    fn a_factory_keeps_its_arguments_as_python_source() {
        assert_eq!(parts("app:make()"), owned("app", "make", Some("")));
        assert_eq!(
            parts("app:make('a:b)', key=[1, {'x': \"(\"}])"),
            owned("app", "make", Some("'a:b)', key=[1, {'x': \"(\"}]"))
        );
        assert_eq!(
            parts(r"app:make('it\'s')"),
            owned("app", "make", Some(r"'it\'s'"))
        );
    }

    #[test]
    fn what_python_could_not_mean_is_refused_with_the_reason() {
        let reason = |text| AppRef::parse(text).unwrap_err();
        assert_eq!(
            reason("mysite/wsgi.py"),
            "names a file; write the module: `mysite.wsgi`"
        );
        assert_eq!(
            reason("app.py:app"),
            "names a file; write the module: `app`"
        );
        assert_eq!(
            reason("my-app:app"),
            "has no module name in front: `my-app`"
        );
        assert_eq!(reason("app:"), "has no attribute name after the colon: ``");
        assert_eq!(reason("app:make("), "has a call that lacks its closing `)`");
        assert_eq!(
            reason("app:make('x)"),
            "has a string that lacks its closing '"
        );
        assert_eq!(reason("app:make(])"), "has a `]` that opens nowhere");
        assert_eq!(reason("app:make().x"), "goes on after its call: `.x`");
    }
}
