//! What is answered to what.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};

use crate::http::{Answer, Cut, Request};
use crate::tables::{DownloadSession, State, Table, UploadSession};
use crate::{Account, Fault, Refusal, Row, Step, rows, sign};

const REST: &str = "/api";
const LAST_BLOCK: u64 = 19_999;

type Done = Result<Answer, Refusal>;

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

// ---- metadata

fn metadata(state: &mut State, request: &Request, path: &str, address: SocketAddr) -> Done {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let xml = |body: String| Ok(Answer::new(200, "application/xml", body));
    match (request.method.as_str(), &parts[..]) {
        ("GET", ["projects", _, "tunnel"]) if request.get("service").is_some() => {
            Ok(Answer::new(200, "text/plain", address.to_string()))
        }
        ("GET", ["projects", project, "tables", name]) => {
            let table = table(state, project, name)?;
            if let Some(spec) = request
                .get("partition")
                .filter(|_| request.get("partitions").is_none())
            {
                let spec = partition(table, &spec.replace('\'', ""))?;
                if !table.partitions.contains_key(&spec) {
                    return Err(no_partition(&spec));
                }
                let schema = json!({"createTime": 0, "lastModifiedTime": 0, "lastDDLTime": 0, "partitionSize": 0, "partitionRecordNum": 0});
                return xml(format!(
                    "<Partition>{}<Schema><![CDATA[{schema}]]></Schema></Partition>",
                    levels(&spec)
                ));
            }
            if request.get("partitions").is_some() {
                let all: Vec<String> = table
                    .partitions
                    .keys()
                    .filter(|spec| !spec.is_empty())
                    .map(|spec| format!("<Partition>{}</Partition>", levels(spec)))
                    .collect();
                return xml(format!(
                    "<Partitions><Marker/><MaxItems/>{}</Partitions>",
                    all.concat()
                ));
            }
            let mut schema = table.schema();
            schema["tableName"] = json!(name);
            schema["owner"] = json!("double");
            for key in [
                "createTime",
                "lastModifiedTime",
                "lastDDLTime",
                "size",
                "recordNum",
                "lifecycle",
            ] {
                schema[key] = json!(0);
            }
            schema["isVirtualView"] = json!(false);
            schema["Reserved"] = json!("{}");
            xml(format!(
                "<?xml version=\"1.0\"?><Table><Name>{name}</Name><TableId>1</TableId><Owner>double</Owner><Schema format=\"Json\"><![CDATA[{schema}]]></Schema></Table>"
            ))
        }
        ("POST", ["projects", project, "instances"]) => {
            add_partition(state, request, project, address)
        }
        ("GET", ["projects", _, "instances", _]) => {
            let mut answer = Answer::new(
                200,
                "application/xml",
                "<Instance><Status>Terminated</Status><Tasks><Task Type=\"SQL\"><Name>AnonymousSQLTask</Name><Status>Success</Status></Task></Tasks></Instance>",
            );
            answer.headers.push((
                "x-odps-start-time",
                "Wed, 15 Jan 2025 00:00:00 GMT".to_owned(),
            ));
            Ok(answer)
        }
        _ => Err(Refusal::new(
            404,
            "NoSuchObject",
            format!("the double knows no {path}"),
        )),
    }
}

/// The one statement that the double runs: ``ALTER TABLE p.`t` ADD IF NOT EXISTS PARTITION (ds='1')``.
fn add_partition(state: &mut State, request: &Request, project: &str, address: SocketAddr) -> Done {
    let job = String::from_utf8_lossy(&request.body).into_owned();
    let between = |from: &str, to: &str| {
        let (_, rest) = job.split_once(from)?;
        rest.split_once(to)
            .map(|(found, _)| found.trim().to_owned())
    };
    let unknown = || Refusal::new(400, "ODPS-0130161", "the double runs no such statement");
    let name = between("ALTER TABLE ", " ADD").ok_or_else(unknown)?;
    let name = name.replace('`', "");
    let name = name.rsplit('.').next().unwrap_or_default().to_owned();
    let spec = between("PARTITION (", ")").ok_or_else(unknown)?;
    let table = table(state, project, &name)?;
    let spec = partition(table, &spec.replace(['\'', '`', ' '], ""))?;
    table.partitions.entry(spec).or_default();
    let mut answer = Answer::new(201, "application/xml", "");
    let id = state.new_id();
    let location = format!("http://{address}{REST}/projects/{project}/instances/{id}");
    answer.headers.push(("Location", location));
    Ok(answer)
}

fn table<'a>(state: &'a mut State, project: &str, name: &str) -> Result<&'a mut Table, Refusal> {
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
fn partition(table: &Table, spec: &str) -> Result<String, Refusal> {
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

fn no_partition(spec: &str) -> Refusal {
    Refusal::new(
        404,
        "NoSuchPartition",
        format!("the partition {spec} does not exist"),
    )
}

fn levels(spec: &str) -> String {
    let level = |level: &str| {
        let (name, value) = level.split_once('=').unwrap_or((level, ""));
        format!("<Column Name=\"{name}\" Value=\"{value}\"/>")
    };
    spec.split(',')
        .filter(|part| !part.is_empty())
        .map(level)
        .collect()
}

// ---- tunnel

fn tunnel(state: &mut State, request: &Request, path: &str, fault: Option<Fault>) -> Done {
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
            let ours =
                session.is_some_and(|session| session.table == key && session.partition == spec);
            if !ours {
                return Err(Refusal::new(
                    404,
                    "NoSuchDownload",
                    "there is no such session",
                ));
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
            let session = state.uploads.get(&id);
            let ours =
                session.is_some_and(|session| session.table == key && session.partition == spec);
            if !ours {
                return Err(Refusal::new(
                    404,
                    "NoSuchUpload",
                    "there is no such session",
                ));
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
    let Some(session) = state.uploads.get_mut(id) else {
        return Err(Refusal::new(
            404,
            "NoSuchUpload",
            "there is no such session",
        ));
    };
    if session.closed {
        return Err(Refusal::new(
            400,
            "StatusConflict",
            "the session is committed",
        ));
    }
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
    let Some(session) = state.uploads.get_mut(id) else {
        return Err(Refusal::new(
            404,
            "NoSuchUpload",
            "there is no such session",
        ));
    };
    if session.closed {
        return Err(Refusal::new(
            400,
            "StatusConflict",
            "the session was committed before",
        ));
    }
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
        let there = table.partitions.entry(partition).or_default();
        let mut all = if overwrite {
            Vec::new()
        } else {
            there.as_ref().clone()
        };
        all.extend(rows);
        *there = Arc::new(all);
    }
    json(&json!({"UploadID": id, "Status": "closed", "UploadedBlockList": []}))
}
