use std::fmt;

use super::{Error, ErrorKind};

/// Who asks. Printing it shows none of it.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) access_id: String,
    pub(crate) access_key: String,
    pub(crate) sts_token: Option<String>,
}

/// Names of environment variables for id, key and token, the first pair that is set wins.
const VARIABLES: [[&str; 3]; 2] = [
    ["ODPS_ACCESS_ID", "ODPS_ACCESS_KEY", "ODPS_STS_TOKEN"],
    [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ],
];

impl Credentials {
    /// An access key, with the token that goes with a temporary one.
    pub fn new(
        access_id: impl Into<String>,
        access_key: impl Into<String>,
        sts_token: Option<String>,
    ) -> Self {
        Self {
            access_id: access_id.into(),
            access_key: access_key.into(),
            sts_token,
        }
    }

    /// From `ODPS_ACCESS_ID`, `ODPS_ACCESS_KEY` and `ODPS_STS_TOKEN`, or else from `ALIBABA_CLOUD_ACCESS_KEY_ID`,
    /// `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and `ALIBABA_CLOUD_SECURITY_TOKEN`; the token may be absent. `variable` looks one
    /// up (`std::env::var`).
    ///
    /// # Errors
    /// `Config` if neither pair is set.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let set = |name| variable(name).filter(|value| !value.trim().is_empty());
        for [id, key, token] in VARIABLES {
            match (set(id), set(key)) {
                (Some(access_id), Some(access_key)) => {
                    return Ok(Self::new(access_id, access_key, set(token)));
                }
                (None, None) => {}
                (Some(_), None) => return Err(missing(&format!("{id} is set and {key} is not"))),
                (None, Some(_)) => return Err(missing(&format!("{key} is set and {id} is not"))),
            }
        }
        Err(missing("no access key is set"))
    }
}

fn missing(what: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!(
            "{what}; set ODPS_ACCESS_ID and ODPS_ACCESS_KEY (or ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET) in the environment"
        ),
    )
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Credentials, Error> {
        Credentials::from_env(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn the_first_whole_pair_counts_and_nothing_is_shown() {
        let both = from(&[
            ("ODPS_ACCESS_ID", "id"),
            ("ODPS_ACCESS_KEY", "secret"),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "other"),
        ])
        .unwrap();
        assert_eq!(
            (both.access_id.as_str(), both.sts_token.as_deref()),
            ("id", None)
        );
        assert!(!format!("{both:?}").contains("secret"));
        let cloud = from(&[
            ("ODPS_ACCESS_ID", " "),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "t"),
        ])
        .unwrap();
        assert_eq!(cloud.sts_token.as_deref(), Some("t"));
        for (variables, text) in [
            (&[][..], "no access key is set"),
            (&[("ODPS_ACCESS_ID", "id")], "ODPS_ACCESS_KEY is not"),
        ] {
            let error = from(variables).unwrap_err();
            assert!(error.message.contains(text) && error.message.contains("set ODPS_ACCESS_ID"));
        }
    }
}
