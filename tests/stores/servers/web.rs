//! Small web servers: one that knows ranges, one that does not, one that sends people elsewhere.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::Running;

pub type Answer = Response<Full<Bytes>>;

/// Serves what `answer` says.
pub fn start(answer: impl Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static) -> Running {
    let answer = Arc::new(answer);
    Running::start(move |stream| {
        let answer = Arc::clone(&answer);
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let reply = answer(&request);
                async move { Ok::<_, Infallible>(reply) }
            });
            // Fails when the client goes away.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
}

/// The whole body, whatever range was asked for, as simple servers do.
pub fn whole(request: &Request<Incoming>, path: &str, body: &[u8]) -> Answer {
    if request.uri().path() != path {
        return status(StatusCode::NOT_FOUND);
    }
    let length = body.len().to_string();
    let body = match request.method().as_str() {
        "HEAD" => Bytes::new(),
        _ => Bytes::copy_from_slice(body),
    };
    Response::builder()
        .header("content-length", length)
        .body(Full::new(body))
        .expect("an answer")
}

pub fn status(status: StatusCode) -> Answer {
    Response::builder()
        .status(status)
        .body(Full::default())
        .expect("an answer")
}

/// To another place.
pub fn redirect(to: &str) -> Answer {
    Response::builder()
        .status(StatusCode::FOUND)
        .header("location", to)
        .body(Full::default())
        .expect("an answer")
}
