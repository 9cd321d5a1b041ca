//! Stores against real servers: S3 (s3s over a folder), OSS (a double that checks signatures), web servers, and a proxy
//! that breaks things. All on the loopback.

mod faults;
mod servers;
mod services;
