//! The `io` executor: calls that wait, as tasks of a tokio runtime.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tracing::Instrument;

use super::calls::{Step, Stepped, wrong_executor};
use super::{Job, StageRuntime, Work};
use crate::operator::OperatorError;
use crate::run::panics::{self, EXECUTOR_THREAD};

/// The runtime of the `io` executor.
pub(in crate::run) fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(format!("{EXECUTOR_THREAD}io"))
        .enable_all()
        .build()
}

/// One job: a call whose future is dropped when its deadline comes.
pub(super) async fn run(stage: Arc<StageRuntime>, job: Job) {
    let Some(attempt) = stage.begin(job, None) else {
        stage.vacate();
        return;
    };
    let deadline = attempt.call.deadline.at();
    let span = attempt.span.clone();
    let stepped: Stepped = {
        // Made and polled inside one future, so that a panic in either is caught.
        let work = async {
            match (&stage.work, attempt.inputs.values()) {
                (Work::Async(transform), Some(values)) => {
                    transform.apply(&attempt.call, values).await.map(Step::Done)
                }
                _ => Err(wrong_executor()),
            }
        };
        let work = AssertUnwindSafe(work.instrument(span)).catch_unwind();
        let work = async {
            match deadline {
                Some(at) => tokio::time::timeout_at(at.into(), work).await,
                None => Ok(work.await),
            }
        };
        match work.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(OperatorError::internal(panics::describe(&*panic))),
            Err(_) => Ok(Step::Stopped),
        }
    };
    if !stage.end(attempt, stepped) {
        stage.services.io_blocked.fetch_sub(1, Ordering::SeqCst);
    }
}
