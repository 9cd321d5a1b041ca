use std::fmt;

use super::StoreError;

/// Longest path taken, in bytes.
const LONGEST_BYTES: usize = 4096;

/// A path inside a store: relative, `/` between its parts, none of them empty, `.` or `..`.
///
/// Percent signs are kept as they are (a file may be called `100%.mp4`), but a path that would climb once they are
/// decoded is refused, because a service behind HTTP may decode them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// The key that a path from a row names.
    ///
    /// ```
    /// use clipsieve_operators::stores::Key;
    ///
    /// assert_eq!(Key::parse("./a//b.mp4").unwrap().as_str(), "a/b.mp4");
    /// assert!(Key::parse("a/../../etc/passwd").is_err());
    /// ```
    ///
    /// # Errors
    /// `BadInput` if the path is empty, absolute, a URL or a folder, if it holds NUL, or if it could leave the store.
    pub fn parse(path: &str) -> Result<Self, StoreError> {
        let refuse = |why: &str| {
            let shown: String = path.chars().take(200).collect();
            Err(StoreError::bad_input(format!("path {shown:?} {why}")))
        };
        if path.len() > LONGEST_BYTES {
            return refuse(&format!(
                "is {} bytes long; at most {LONGEST_BYTES} are allowed",
                path.len()
            ));
        }
        if path.starts_with('/') {
            return refuse(
                "is absolute and not inside the store; write it relative to the store's root",
            );
        }
        if path.contains("://") {
            return refuse("is a URL; write the path inside the store");
        }
        let decoded = decode_fully(path);
        if decoded.contains(&0) {
            return refuse("holds a NUL character");
        }
        if decoded.starts_with(b"/") {
            return refuse("is absolute once its percent signs are decoded");
        }
        if decoded
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|part| part == b"..")
        {
            return refuse("leaves the store's root (`..`); write it without");
        }
        if path.ends_with('/') {
            return refuse("names a folder; a file is needed");
        }
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        if parts.is_empty() {
            return refuse("names no file");
        }
        Ok(Self(parts.join("/")))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it lies in; empty for the root.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path with its percent-encoded bytes decoded, again and again until nothing changes (`%252e` is a dot too).
fn decode_fully(path: &str) -> Vec<u8> {
    let mut bytes = path.as_bytes().to_vec();
    loop {
        let decoded = decode(&bytes);
        if decoded.len() == bytes.len() {
            return decoded;
        }
        bytes = decoded;
    }
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_are_keys() {
        for (path, key) in [
            ("a.mp4", "a.mp4"),
            ("./a/./b.mp4", "a/b.mp4"),
            ("a//b.mp4", "a/b.mp4"),
            ("100%.mp4", "100%.mp4"),
            ("a%20b.mp4", "a%20b.mp4"),
            ("..hidden/a..b.mp4", "..hidden/a..b.mp4"),
            ("视频/猫.mp4", "视频/猫.mp4"),
        ] {
            assert_eq!(Key::parse(path).unwrap().as_str(), key, "{path}");
        }
        assert_eq!(Key::parse("a/b/c.mp4").unwrap().folder(), "a/b");
        assert_eq!(Key::parse("c.mp4").unwrap().folder(), "");
    }

    #[test]
    fn every_way_out_is_refused() {
        for (path, why) in [
            ("..", "`..`"),
            ("../a.mp4", "`..`"),
            ("a/../../b.mp4", "`..`"),
            ("a/..", "`..`"),
            ("%2e%2e/a.mp4", "`..`"),
            ("%2E./a.mp4", "`..`"),
            ("a/%2e%2e%2f%2e%2e%2fb", "`..`"),
            ("%252e%252e/a.mp4", "`..`"),
            ("..\\a.mp4", "`..`"),
            ("%2fetc/passwd", "absolute"),
            ("/etc/passwd", "absolute"),
            ("a\0.mp4", "NUL"),
            ("a%00.mp4", "NUL"),
            ("oss://bucket/a.mp4", "URL"),
            ("", "no file"),
            (".", "no file"),
            ("a/", "folder"),
        ] {
            let error = Key::parse(path).unwrap_err();
            assert!(
                error.message.contains(why),
                "{path:?} gave {}",
                error.message
            );
        }
        assert!(Key::parse(&"a".repeat(LONGEST_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn a_key_never_climbs(path in "[a.%2eE5cCfF/\\\\\u{0}]{0,24}") {
            if let Ok(key) = Key::parse(&path) {
                prop_assert!(!key.as_str().starts_with('/'));
                prop_assert!(key.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
                prop_assert!(!key.as_str().contains('\0'));
            }
        }
    }
}
