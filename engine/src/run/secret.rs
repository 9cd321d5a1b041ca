//! How the ends of a connection know each other.
//!
//! Both prove that they have the run's secret without sending it (HMAC-SHA-256, RFC 2104, over random numbers of both): who
//! listens on the network learns nothing to use later, and a port that answers is the run's and not somebody else's.
//! What is said afterwards is neither hidden nor protected against somebody who can change packets on the way.

use std::io::{self, Read, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::random;

const NUMBER: usize = 16;
const PROOF: usize = 32;

/// The secret of a run.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The secret that these bytes are; white space around them is none of it.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.trim_ascii().to_vec())
    }

    /// A secret for one purpose, which does not tell this one.
    pub(super) fn derive(&self, purpose: &str) -> Self {
        Self(self.sign(&[purpose.as_bytes()]).to_vec())
    }

    /// In hexadecimal, for the environment of a process of this machine.
    pub(super) fn to_hex(&self) -> String {
        random::hex(&self.0)
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; PROOF] {
        self.mac(parts).finalize().into_bytes().into()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        // Keys of any length are taken.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0)
            .unwrap_or_else(|_| <Hmac<Sha256> as KeyInit>::new(&[0; 64].into()));
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    /// Greets as the one who called. `who` is what this end says of itself.
    ///
    /// # Errors
    /// The other end does not have the secret, or the connection broke.
    pub(super) fn call(&self, socket: &mut (impl Read + Write), who: u64) -> io::Result<()> {
        let mine = random::bytes::<NUMBER>()?;
        let who = who.to_be_bytes();
        socket.write_all(&[mine.as_slice(), &who].concat())?;
        let mut theirs = [0; NUMBER];
        socket.read_exact(&mut theirs)?;
        socket.write_all(&self.sign(&[b"caller", &who, &mine, &theirs]))?;
        let mut proof = [0; PROOF];
        socket.read_exact(&mut proof)?;
        self.check(&[b"called", &who, &theirs, &mine], &proof)
    }

    /// Greets as the one who was called. Returns what the other end says of itself.
    ///
    /// # Errors
    /// As [`Secret::call`].
    pub(super) fn answer(&self, socket: &mut (impl Read + Write)) -> io::Result<u64> {
        let mut theirs = [0; NUMBER];
        socket.read_exact(&mut theirs)?;
        let mut who = [0; 8];
        socket.read_exact(&mut who)?;
        let mine = random::bytes::<NUMBER>()?;
        socket.write_all(&mine)?;
        let mut proof = [0; PROOF];
        socket.read_exact(&mut proof)?;
        self.check(&[b"caller", &who, &theirs, &mine], &proof)?;
        socket.write_all(&self.sign(&[b"called", &who, &mine, &theirs]))?;
        Ok(u64::from_be_bytes(who))
    }

    fn check(&self, parts: &[&[u8]], proof: &[u8]) -> io::Result<()> {
        // In constant time: how long it takes says nothing about the proof.
        let verified = self.mac(parts).verify_slice(proof);
        verified.map_err(|_| {
            io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the other end does not have this run's secret",
            )
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn greet(caller: &'static str, called: &'static str) -> (io::Result<()>, io::Result<u64>) {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || Secret::new(called.as_bytes()).answer(&mut there));
        let called = Secret::new(caller.as_bytes()).call(&mut here, 7);
        drop(here);
        (called, thread.join().unwrap())
    }

    #[test]
    fn only_those_with_the_secret_know_each_other() {
        let (caller, called) = greet("secret\n", "secret");
        caller.unwrap();
        assert_eq!(called.unwrap(), 7);
        let (caller, called) = greet("secret", "Secret");
        assert!(caller.is_err());
        assert_eq!(called.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let secret = Secret::new(b"secret");
        assert_ne!(secret.derive("a").to_hex(), secret.derive("b").to_hex());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
