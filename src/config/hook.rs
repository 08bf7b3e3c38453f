//! References to hooks: `module:function`.

use std::fmt;

use super::{HookRef, app::is_dotted_name};

impl HookRef {
    /// The error is what stands in the way, and what to write instead where that is known.
    pub fn parse(text: &str) -> Result<Self, (String, Option<String>)> {
        let text = text.trim();
        let Some((module, function)) = text.split_once(':') else {
            let meant = text
                .rsplit_once('.')
                .filter(|_| is_dotted_name(text))
                .map(|(module, function)| format!("write `\"{module}:{function}\"`"));
            return Err(("names no function".to_owned(), meant));
        };
        let function = function.trim();
        for (part, what) in [(module, "module"), (function, "function")] {
            if !is_dotted_name(part) {
                return Err((format!("has no {what} name: `{part}`"), None));
            }
        }
        Ok(Self {
            module: module.to_owned(),
            function: function.to_owned(),
        })
    }
}

/// As it is written.
impl fmt::Display for HookRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_and_a_function_are_named() {
        let hook = HookRef::parse("mysite.hooks:Worker.begin").unwrap();
        assert_eq!(
            (hook.module.as_str(), hook.function.as_str()),
            ("mysite.hooks", "Worker.begin")
        );
        assert_eq!(hook.to_string(), "mysite.hooks:Worker.begin");
    }

    #[test]
    fn gunicorns_dots_are_told_where_the_colon_goes() {
        let (problem, help) = HookRef::parse("mysite.hooks.begin").unwrap_err();
        assert_eq!(problem, "names no function");
        assert_eq!(help.as_deref(), Some("write `\"mysite.hooks:begin\"`"));
    }

    #[test]
    fn what_python_could_not_name_is_refused() {
        for text in ["", "hooks", ":f", "hooks:", "hooks:f()", "my-hooks:f"] {
            assert!(HookRef::parse(text).is_err(), "{text}");
        }
    }
}
