//! The Tunnel: sessions that rows are read from and written to.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::api::{Done, no_partition, partition, table};
use crate::http::{Answer, Request};
use crate::tables::{DownloadSession, State, UploadSession};
use crate::{Fault, Refusal, Row, rows};

const LAST_BLOCK: u64 = 19_999;

pub(crate) fn tunnel(
    state: &mut State,
    request: &Request,
    path: &str,
    fault: Option<Fault>,
) -> Done {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let ["projects", project, "tables", name] = parts[..] else {
        return Err(Refusal::new(
            404,
            "NoSuchObject",
            format!("the double knows no {path}"),
        ));
    };
    let key = (project.to_owned(), name.to_owned());
    let spec = {
        let table = table(state, project, name)?;
        partition(table, request.get("partition").unwrap_or_default())?
    };
    if fault == Some(Fault::Expired) {
        return Err(Refusal::new(
            400,
            "StatusConflict",
            "the session is expired",
        ));
    }
    let has = |name| request.get(name).is_some();
    match request.method.as_str() {
        "POST" if has("downloads") => {
            let rows = table(state, project, name)?.partitions.get(&spec);
            let rows = Arc::clone(rows.ok_or_else(|| no_partition(&spec))?);
            let id = state.new_id();
            let session = DownloadSession {
                table: key,
                partition: spec,
                rows,
            };
            state.downloads.insert(id.clone(), session);
            look_at_download(state, &id, fault)
        }
        "GET" if has("downloadid") => {
            let id = request.get("downloadid").unwrap_or_default();
            let session = state.downloads.get(id);
            if session.is_none_or(|session| (&session.table, &session.partition) != (&key, &spec)) {
                return Err(no_session("NoSuchDownload"));
            }
            match has("data") {
                true => read(state, request, id, fault),
                false => look_at_download(state, id, fault),
            }
        }
        "POST" if has("uploads") => {
            let creates = request
                .get("create_partition")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let overwrite = request
                .get("overwrite")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let table = table(state, project, name)?;
            if !table.partitions.contains_key(&spec) {
                if !creates {
                    return Err(no_partition(&spec));
                }
                table.partitions.insert(spec.clone(), Arc::default());
            }
            let id = state.new_id();
            let session = UploadSession {
                table: key,
                partition: spec,
                overwrite,
                blocks: Default::default(),
                broken: Default::default(),
                closed: false,
            };
            state.uploads.insert(id.clone(), session);
            look_at_upload(state, &id)
        }
        _ if has("uploadid") => {
            let id = request.get("uploadid").unwrap_or_default().to_owned();
            let session = open_upload(state, &id)?;
            if (&session.table, &session.partition) != (&key, &spec) {
                return Err(no_session("NoSuchUpload"));
            }
            match request.method.as_str() {
                "PUT" => block(state, request, &id),
                "GET" => look_at_upload(state, &id),
                _ => commit(state, &id),
            }
        }
        _ => Err(Refusal::new(
            400,
            "InvalidArgument",
            "the double knows no such request",
        )),
    }
}

fn no_session(code: &str) -> Refusal {
    Refusal::new(404, code, "there is no such session")
}

fn open_upload<'a>(state: &'a mut State, id: &str) -> Result<&'a mut UploadSession, Refusal> {
    let session = state.uploads.get_mut(id);
    session.ok_or_else(|| no_session("NoSuchUpload"))
}

/// A session that still takes blocks and a commit: it takes one commit.
fn not_committed<'a>(state: &'a mut State, id: &str) -> Result<&'a mut UploadSession, Refusal> {
    let session = open_upload(state, id)?;
    match session.closed {
        true => Err(Refusal::new(
            400,
            "StatusConflict",
            "the session is committed",
        )),
        false => Ok(session),
    }
}

fn json(body: &Json) -> Done {
    Ok(Answer::new(200, "application/json", body.to_string()))
}

fn look_at_download(state: &mut State, id: &str, fault: Option<Fault>) -> Done {
    let session = &state.downloads[id];
    let table = &state.tables[&session.table];
    let status = if fault == Some(Fault::Initiating) {
        "initiating"
    } else {
        "normal"
    };
    json(&json!({
        "DownloadID": id, "Status": status, "RecordCount": session.rows.len(), "Schema": table.schema(),
        "Initiated": "Wed, 15 Jan 2025 00:00:00 GMT", "Owner": "double", "QuotaName": "",
    }))
}

fn read(state: &mut State, request: &Request, id: &str, fault: Option<Fault>) -> Done {
    let session = &state.downloads[id];
    let table = &state.tables[&session.table];
    let bad = |why: &str| Refusal::new(400, "InvalidRowRange", why);
    let range = request.get("rowrange").unwrap_or_default();
    let range = range
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split_once(',');
    let (start, count) = range.ok_or_else(|| bad("no row range"))?;
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| bad("no number"));
    let (start, count) = (number(start)?, number(count)?);
    let mut chosen: &[Row] = session
        .rows
        .get(start..start + count)
        .ok_or_else(|| bad("the range is beyond the rows"))?;
    if fault == Some(Fault::FewerRows) {
        chosen = &chosen[..chosen.len() / 2];
    }
    let mut columns = table.columns.clone();
    let mut rows = chosen.to_vec();
    if let Some(names) = request.get("columns") {
        let place = |name: &str| {
            columns
                .iter()
                .position(|column| column.name == name)
                .ok_or_else(|| {
                    Refusal::new(
                        400,
                        "NoSuchColumn",
                        format!("the table has no column {name}"),
                    )
                })
        };
        let places: Vec<usize> = names.split(',').map(place).collect::<Result<_, _>>()?;
        rows = rows
            .iter()
            .map(|row| places.iter().map(|at| row[*at].clone()).collect())
            .collect();
        columns = places.iter().map(|at| columns[*at].clone()).collect();
    }
    let body = match request.get("arrow") {
        Some(_) => rows::to_arrow(&columns, &rows)
            .map_err(|why| Refusal::new(500, "InternalServerError", why))?,
        None => rows::to_records(&columns, &rows),
    };
    Ok(Answer::new(200, "application/octet-stream", body))
}

fn look_at_upload(state: &mut State, id: &str) -> Done {
    let session = &state.uploads[id];
    let table = &state.tables[&session.table];
    let block = |number: &u64| json!({"BlockID": number, "CreateTime": "Wed, 15 Jan 2025 00:00:00 GMT", "Date": "Wed, 15 Jan 2025 00:00:00 GMT"});
    let blocks: Vec<Json> = session.blocks.keys().map(block).collect();
    json(&json!({
        "UploadID": id, "Status": if session.closed { "closed" } else { "normal" }, "Schema": table.schema(),
        "UploadedBlockList": blocks, "MaxFieldSize": 8_388_608, "QuotaName": "",
        "Initiated": "Wed, 15 Jan 2025 00:00:00 GMT", "Owner": "double",
    }))
}

fn block(state: &mut State, request: &Request, id: &str) -> Done {
    let columns = state.tables[&state.uploads[id].table].columns.clone();
    let session = not_committed(state, id)?;
    let number = request
        .get("blockid")
        .and_then(|number| number.parse().ok());
    let number = number
        .filter(|number| *number <= LAST_BLOCK)
        .ok_or_else(|| Refusal::new(400, "InvalidBlockID", "no block of that number can be"))?;
    let read = match request.get("arrow") {
        Some(_) => rows::from_arrow(&columns, &request.body),
        None => rows::from_records(&columns, &request.body),
    };
    match read {
        Ok(rows) => {
            session.broken.remove(&number);
            session.blocks.insert(number, rows);
            json(&json!({}))
        }
        Err(why) => {
            session.broken.insert(number);
            Err(Refusal::new(400, "MalformedDataStream", why))
        }
    }
}

fn commit(state: &mut State, id: &str) -> Done {
    let session = not_committed(state, id)?;
    let first = session.blocks.keys().next().copied().unwrap_or(0);
    let gap = session
        .blocks
        .keys()
        .zip(first..)
        .find(|(there, wanted)| **there != *wanted);
    if first > 1 || gap.is_some() || !session.broken.is_empty() {
        return Err(Refusal::new(
            400,
            "MissingBlocks",
            "blocks are missing or came damaged",
        ));
    }
    session.closed = true;
    let rows: Vec<Row> = session.blocks.values().flatten().cloned().collect();
    let (overwrite, partition, key) = (
        session.overwrite,
        session.partition.clone(),
        session.table.clone(),
    );
    if let Some(table) = state.tables.get_mut(&key) {
        table.put(&partition, rows, overwrite);
    }
    json(&json!({"UploadID": id, "Status": "closed", "UploadedBlockList": []}))
}
