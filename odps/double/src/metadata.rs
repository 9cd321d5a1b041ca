//! The metadata service: tables, partitions, and the one statement that the double runs.

use std::net::SocketAddr;

use serde_json::json;

use crate::Refusal;
use crate::api::{Done, REST, no_partition, partition, table};
use crate::http::{Answer, Request};
use crate::tables::State;

pub(crate) fn metadata(
    state: &mut State,
    request: &Request,
    path: &str,
    address: SocketAddr,
) -> Done {
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
                let schema = json!({"createTime": 0, "lastModifiedTime": table.changed(&spec), "lastDDLTime": 0, "partitionSize": 0, "partitionRecordNum": 0});
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
                "lastDDLTime",
                "size",
                "recordNum",
                "lifecycle",
            ] {
                schema[key] = json!(0);
            }
            schema["lastModifiedTime"] = json!(table.changed(""));
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
