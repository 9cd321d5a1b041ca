//! A real S3 server, s3s over a folder: it checks signatures and refuses a wrong secret.

use std::path::Path;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

use super::Running;

pub const KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "s3cr3t/Of+The=Bucket";

/// Serves the folders in `root` as buckets.
pub fn start(root: &Path) -> Running {
    let files = FileSystem::new(root).expect("a folder to serve");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
    let service = builder.build();
    Running::start(move |stream| {
        let service = service.clone();
        async move {
            // Fails when the client goes away.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
}
