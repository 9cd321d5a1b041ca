use std::sync::Arc;

use super::StoreError;

/// What messages must not hold, shared by all that make them.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[String]>);

impl Secrets {
    pub fn new(secrets: Vec<String>) -> Self {
        Self(secrets.into())
    }

    /// The error without the secrets, as they are and as a URL writes them.
    pub fn hide(&self, mut error: StoreError) -> StoreError {
        for secret in self.0.iter().filter(|secret| !secret.is_empty()) {
            for spelled in [secret.clone(), percent_encoded(secret)] {
                if error.message.contains(&spelled) {
                    error.message = error.message.replace(&spelled, "***");
                }
            }
        }
        error
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_in_both_spellings() {
        let secrets = Secrets::new(vec!["a/b+c".to_owned(), String::new()]);
        let error = secrets.hide(StoreError::bad_input("x a/b+c y a%2Fb%2Bc z"));
        assert_eq!(error.message, "x *** y *** z");
    }
}
