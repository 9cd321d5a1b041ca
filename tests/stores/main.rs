//! Stores against real servers: S3 (s3s over a folder), OSS (a double that checks signatures), web servers, and a proxy
//! that breaks things. All on the loopback.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod models;
mod pipeline;
mod servers;
mod services;
mod stream;
mod tables;
