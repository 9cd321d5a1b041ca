//! A real S3 server, s3s over a folder: it checks signatures and refuses a wrong secret.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

use super::Running;

pub const KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "s3cr3t/Of+The=Bucket";

/// Serves the folders in `root` as Alluxio's proxy does: S3 below `/api/v1/s3`, and whoever asks is believed.
pub fn start_as_alluxio(root: &Path) -> Running {
    let files = FileSystem::new(root).expect("a folder to serve");
    let service = S3ServiceBuilder::new(files).build();
    Running::start(move |stream| {
        let service = service.clone();
        async move {
            let proxy = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                let service = service.clone();
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str());
                let inner = path.strip_prefix("/api/v1/s3").unwrap_or("/").to_owned();
                *request.uri_mut() = inner.parse().expect("a path");
                request.headers_mut().remove("authorization");
                async move { hyper::service::Service::call(&service, request).await }
            });
            // Fails when the client goes away.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), proxy)
                .await;
        }
    })
}

/// Lets the server have an ETag of this object beside it, as it has of those that were put through it: of others it reads
/// every byte at every request to tell one, which for a large object takes minutes.
pub fn remember_etag(root: &Path, bucket: &str, key: &str) {
    let [named_bucket, named_key] = [bucket, key].map(|name| URL_SAFE_NO_PAD.encode(name));
    let notes = root.join(format!(
        ".bucket-{named_bucket}.object-{named_key}.internal.json"
    ));
    let etag = serde_json::json!({"e_tag": format!("{:032x}", key.len())});
    std::fs::write(notes, etag.to_string()).expect("a file");
}

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
