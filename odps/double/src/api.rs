//! What is answered to what.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use crate::http::{Answer, Cut, Request};
use crate::metadata::metadata;
use crate::tables::{State, Table};
use crate::tunnel::tunnel;
use crate::{Account, Fault, Refusal, Step, sign};

/// Where the metadata service is.
pub(crate) const REST: &str = "/api";

pub(crate) type Done = Result<Answer, Refusal>;

/// Answers a request.
pub(crate) fn answer(
    request: &Request,
    account: &Account,
    state: &Mutex<State>,
    address: SocketAddr,
) -> Answer {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let rest = request
        .path
        .strip_prefix(REST)
        .filter(|path| path.starts_with('/'));
    let resource = rest.unwrap_or(&request.path).to_owned();
    let step = step(request, rest.is_some());
    state.steps.push(step);
    let done = sign::check(request, &resource, account).and_then(|version| {
        state.signatures.push(version);
        let fault = state.fault(step);
        if let Some(Fault::Status(status)) = fault {
            return Err(Refusal::new(
                status,
                "DoubleFault",
                "the double was told to",
            ));
        }
        let mut answer = match rest {
            Some(path) => metadata(&mut state, request, path, address)?,
            None => tunnel(&mut state, request, &resource, fault)?,
        };
        match fault {
            Some(Fault::CutAnswer(bytes)) => answer.cut = Some(Cut::AfterBytes(bytes)),
            Some(Fault::NoAnswer) => answer.cut = Some(Cut::BeforeAnswer),
            Some(Fault::Flip(at)) => {
                let last = answer.body.len() - 1;
                answer.body[at.min(last)] ^= 1;
            }
            _ => {}
        }
        Ok(answer)
    });
    let number = state.steps.len();
    let mut answer = done.unwrap_or_else(|refusal| {
        let escaped = refusal.message.replace('&', "&amp;").replace('<', "&lt;");
        let (code, status) = (&refusal.code, refusal.status);
        match rest {
            Some(_) => Answer::new(
                status,
                "application/xml",
                format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{escaped}</Message><RequestId>double-{number}</RequestId></Error>"),
            ),
            None => Answer::new(
                status,
                "application/json",
                json!({"Code": code, "Message": refusal.message}).to_string(),
            ),
        }
    });
    answer
        .headers
        .push(("x-odps-request-id", format!("double-{number}")));
    answer
}

fn step(request: &Request, rest: bool) -> Step {
    let has = |name| request.get(name).is_some();
    match request.method.as_str() {
        _ if rest => Step::Metadata,
        "PUT" => Step::Block,
        "GET" if has("data") => Step::Rows,
        "POST" if has("uploads") => Step::Upload,
        "POST" if has("uploadid") => Step::Commit,
        "GET" if has("uploadid") => Step::Look,
        _ => Step::Download,
    }
}

pub(crate) fn table<'a>(
    state: &'a mut State,
    project: &str,
    name: &str,
) -> Result<&'a mut Table, Refusal> {
    let key = (project.to_owned(), name.to_owned());
    state.tables.get_mut(&key).ok_or_else(|| {
        Refusal::new(
            404,
            "NoSuchTable",
            format!("table {project}.{name} does not exist"),
        )
    })
}

/// A partition in its canonical form, if it names all levels.
pub(crate) fn partition(table: &Table, spec: &str) -> Result<String, Refusal> {
    let spec = spec.replace('/', ",");
    let given: Vec<&str> = spec.split(',').filter(|level| !level.is_empty()).collect();
    let fits = given.len() == table.partition_keys.len()
        && given.iter().zip(&table.partition_keys).all(|(level, key)| {
            level
                .split_once('=')
                .is_some_and(|(name, value)| name == key.name && !value.is_empty())
        });
    if fits {
        return Ok(given.join(","));
    }
    let keys: Vec<&str> = table
        .partition_keys
        .iter()
        .map(|key| key.name.as_str())
        .collect();
    Err(Refusal::new(
        400,
        "InvalidPartitionSpec",
        format!("the partition `{spec}` is not one of ({})", keys.join(", ")),
    ))
}

pub(crate) fn no_partition(spec: &str) -> Refusal {
    Refusal::new(
        404,
        "NoSuchPartition",
        format!("the partition {spec} does not exist"),
    )
}
