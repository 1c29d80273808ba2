//! `require_auth`: which ways of authentication the client accepts (PostgreSQL 16).

use super::ConnInfoError;

/// A way the server can ask for proof of identity, by libpq's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthMethod {
    /// `password`: the password itself.
    Password,
    /// `md5`.
    Md5,
    /// `gss`; not supported by this crate.
    Gss,
    /// `sspi`; not supported by this crate.
    Sspi,
    /// `scram-sha-256`, with or without channel binding.
    ScramSha256,
    /// `oauth`; not supported by this crate.
    Oauth,
    /// `none`: the server asked for nothing.
    None,
}

const METHODS: [(&str, AuthMethod); 7] = [
    ("password", AuthMethod::Password),
    ("md5", AuthMethod::Md5),
    ("gss", AuthMethod::Gss),
    ("sspi", AuthMethod::Sspi),
    ("scram-sha-256", AuthMethod::ScramSha256),
    ("oauth", AuthMethod::Oauth),
    ("none", AuthMethod::None),
];

/// A parsed `require_auth`; the default accepts every method.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequireAuth {
    listed: Vec<AuthMethod>,
    negated: bool,
    text: String,
}

impl RequireAuth {
    /// Parses a comma-separated list, all of it or none of it with a leading `!`. An empty list accepts everything.
    ///
    /// # Errors
    /// An unknown method, one named twice, or `!` on some methods only.
    pub fn parse(value: &str) -> Result<Self, ConnInfoError> {
        let mut parsed = Self { text: value.to_owned(), ..Self::default() };
        if value.is_empty() {
            return Ok(parsed);
        }
        for (position, word) in value.split(',').enumerate() {
            let (negated, name) = word.strip_prefix('!').map_or((false, word), |name| (true, name));
            let refuse = |problem| ConnInfoError::RequireAuth { method: name.to_owned(), problem };
            if position == 0 {
                parsed.negated = negated;
            } else if parsed.negated != negated {
                return Err(refuse(if negated {
                    "cannot be mixed with non-negative methods"
                } else {
                    "cannot be mixed with negative methods"
                }));
            }
            let method = METHODS.iter().find(|(text, _)| *text == name).map(|(_, method)| *method);
            let method = method.ok_or_else(|| ConnInfoError::InvalidValue {
                keyword: "require_auth",
                value: name.to_owned(),
            })?;
            if parsed.listed.contains(&method) {
                return Err(refuse("is specified more than once"));
            }
            parsed.listed.push(method);
        }
        Ok(parsed)
    }

    /// Whether the server may use this method.
    pub fn allows(&self, method: AuthMethod) -> bool {
        self.listed.is_empty() || self.listed.contains(&method) != self.negated
    }

    /// The list as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthMethod, RequireAuth};

    #[test]
    fn lists() {
        let only = RequireAuth::parse("scram-sha-256,md5").unwrap();
        assert!(
            only.allows(AuthMethod::Md5)
                && !only.allows(AuthMethod::None)
                && !only.allows(AuthMethod::Password)
        );
        let never = RequireAuth::parse("!password,!none").unwrap();
        assert!(never.allows(AuthMethod::Md5) && !never.allows(AuthMethod::None));
        assert!(RequireAuth::parse("").unwrap().allows(AuthMethod::None));
        for bad in ["md5,!none", "!none,md5", "md5,md5", "scram", "md5,", ","] {
            assert!(RequireAuth::parse(bad).is_err(), "{bad}");
        }
    }
}
