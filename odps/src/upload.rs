use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use bytes::Bytes;
use reqwest::Method;
use serde_json::Value as Json;

use super::client::{Ask, Client, Service};
use super::retry::{Attempts, Trouble};
use super::{Error, ErrorKind, TableSchema, TableUri, frame, ipc};

/// How often a session that is being closed is looked at again.
const POLLS: u32 = 120;

/// What an upload does to what is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// The rows take the place of those that are there, when they are committed; otherwise they come beside them.
    pub overwrite: bool,
    /// A partition that is missing is made.
    pub create_partition: bool,
}

/// A session that takes rows in blocks. Nothing of it is to be seen before [`Upload::commit`]; a session that is dropped
/// leaves nothing. It lasts a day.
#[derive(Debug)]
pub struct Upload {
    table: TableUri,
    id: String,
    schema: TableSchema,
    /// Whether it was committed when it was opened here, or was being committed.
    committed: bool,
}

/// What the server says of a session.
struct State {
    status: String,
    blocks: BTreeSet<u64>,
}

impl Upload {
    /// The highest number that a block may have.
    pub const LAST_BLOCK: u64 = 19_999;

    /// Begins a session. On a table with partitions the URI has to name one, all of its levels.
    ///
    /// # Errors
    /// `NotFound` if there is no such table, or no such partition and it is not to be made; `Permission` if it may not be
    /// written to.
    pub async fn open(
        client: &Client,
        table: &TableUri,
        options: UploadOptions,
    ) -> Result<Self, Error> {
        let mut query = vec![("uploads", "1".to_owned()), ("reload", "False".to_owned())];
        let set = |name, set: bool| set.then(|| (name, "true".to_owned()));
        query.extend(set("overwrite", options.overwrite));
        let creates = options.create_partition && !table.partition.is_empty();
        query.extend(set("create_partition", creates));
        let (session, _) = Self::session(client, table, Method::POST, query).await?;
        Ok(session)
    }

    /// Goes on with a session of this id, whether it is committed or not.
    ///
    /// # Errors
    /// `Expired` or `NotFound` if it is no more.
    pub async fn resume(client: &Client, table: &TableUri, id: &str) -> Result<Self, Error> {
        let query = vec![("uploadid", id.to_owned()), ("reload", "True".to_owned())];
        let (session, state) = Self::session(client, table, Method::GET, query).await?;
        match state.status.as_str() {
            "NORMAL" | "CLOSING" | "CLOSED" => Ok(session),
            other => Err(session.is_over("go on with", other)),
        }
    }

    async fn session(
        client: &Client,
        table: &TableUri,
        method: Method,
        query: Vec<(&str, String)>,
    ) -> Result<(Self, State), Error> {
        let mut attempts = Attempts::default();
        loop {
            match ask(client, table, method.clone(), query.clone(), None).await {
                Ok(session) => {
                    let id = session.get("UploadID").and_then(Json::as_str);
                    let schema = session.get("Schema").and_then(TableSchema::from_json);
                    let (Some(id), Some(schema)) = (id, schema) else {
                        return Err(Error::new(
                            ErrorKind::Corrupt,
                            format!("cannot write {table}: the session has no id or no schema"),
                        ));
                    };
                    let state = State::of(&session);
                    let found = Self {
                        table: table.clone(),
                        id: id.to_owned(),
                        schema,
                        committed: matches!(state.status.as_str(), "CLOSING" | "CLOSED"),
                    };
                    return Ok((found, state));
                }
                Err(trouble) => attempts.pause(client.policy(), trouble).await?,
            }
        }
    }

    /// Its id, for [`Upload::resume`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it had been committed before it was gone on with.
    pub fn was_committed(&self) -> bool {
        self.committed
    }

    /// The columns that blocks are to have, all of them and in this order.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// Sends the rows of a block, in place of those that were sent under its number before.
    ///
    /// # Errors
    /// `Config` if the batches have other columns than the table, or the number is above [`Upload::LAST_BLOCK`].
    pub async fn block(
        &self,
        client: &Client,
        number: u64,
        batches: &[RecordBatch],
    ) -> Result<(), Error> {
        if number > Self::LAST_BLOCK {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "block {number} is beyond the last one, {}",
                    Self::LAST_BLOCK
                ),
            ));
        }
        let schema = self.schema.arrow()?;
        let body = frame::frame(&ipc::encode(&schema, batches)?);
        let mut attempts = Attempts::default();
        loop {
            let query = vec![
                ("uploadid", self.id.clone()),
                ("blockid", number.to_string()),
                ("arrow", String::new()),
            ];
            match send(client, &self.table, Method::PUT, query, Some(body.clone())).await {
                Ok(_) => return Ok(()),
                Err(trouble) => {
                    let trouble = trouble.context(format!("block {number}"));
                    attempts.pause(client.policy(), trouble).await?;
                }
            }
        }
    }

    /// Makes the rows of blocks 0 to `blocks` (without it) visible, all at once. A session is committed once: after an
    /// answer that did not come, it is asked whether the commit came through before it is sent again. Committing a
    /// session that was committed before is no error, so that a program that was killed here can do it again.
    ///
    /// # Errors
    /// `Corrupt` if the server does not have just these blocks; nothing is visible then.
    pub async fn commit(&self, client: &Client, blocks: u64) -> Result<(), Error> {
        let mut attempts = Attempts::default();
        let mut polls = 0;
        loop {
            let done = match self.state(client).await {
                Ok(state) => match state.status.as_str() {
                    "CLOSED" => return Ok(()),
                    "CLOSING" if polls < POLLS => {
                        polls += 1;
                        tokio::time::sleep(client.policy().pause).await;
                        continue;
                    }
                    "CLOSING" => {
                        return Err(Error::new(
                            ErrorKind::Temporary,
                            format!(
                                "commit {}: the server has been at it for {POLLS} looks, and may yet end",
                                self.table
                            ),
                        ));
                    }
                    "NORMAL" => {
                        self.compare(&state.blocks, blocks)?;
                        self.send_commit(client).await
                    }
                    other => return Err(self.is_over("commit", other)),
                },
                Err(trouble) => Err(trouble),
            };
            match done {
                // The answer may say that it is still at it.
                Ok(status) if status == "CLOSED" => return Ok(()),
                Ok(_) => tokio::time::sleep(client.policy().network_pause).await,
                Err(trouble) => attempts.pause(client.policy(), trouble).await?,
            }
        }
    }

    async fn send_commit(&self, client: &Client) -> Result<String, Trouble> {
        let query = vec![("uploadid", self.id.clone())];
        let answer = ask(client, &self.table, Method::POST, query, None).await?;
        Ok(status(&answer))
    }

    async fn state(&self, client: &Client) -> Result<State, Trouble> {
        let query = vec![("uploadid", self.id.clone()), ("reload", "True".to_owned())];
        let answer = ask(client, &self.table, Method::GET, query, None).await?;
        Ok(State::of(&answer))
    }

    /// Whether the server has blocks 0 to `blocks` (without it).
    ///
    /// # Errors
    /// What the server answered.
    pub async fn has(&self, client: &Client, blocks: u64) -> Result<bool, Error> {
        let mut attempts = Attempts::default();
        loop {
            match self.state(client).await {
                Ok(state) => return Ok((0..blocks).all(|number| state.blocks.contains(&number))),
                Err(trouble) => attempts.pause(client.policy(), trouble).await?,
            }
        }
    }

    fn compare(&self, there: &BTreeSet<u64>, blocks: u64) -> Result<(), Error> {
        let missing = (0..blocks).find(|number| !there.contains(number));
        let strange = there.iter().find(|number| **number >= blocks);
        let why = match (missing, strange) {
            (None, None) => return Ok(()),
            (Some(number), _) => format!("block {number} of {blocks} did not arrive"),
            (None, Some(number)) => format!("there is a block {number}, and {blocks} were sent"),
        };
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("cannot commit {}: {why}", self.table),
        ))
    }

    fn is_over(&self, doing: &str, status: &str) -> Error {
        Error::new(
            ErrorKind::Expired,
            format!("cannot {doing} {}: the session is {status}", self.table),
        )
    }
}

impl State {
    fn of(answer: &Json) -> Self {
        let number = |block: &Json| block.get("BlockID").and_then(Json::as_u64);
        let blocks = answer.get("UploadedBlockList").and_then(Json::as_array);
        Self {
            status: status(answer),
            blocks: blocks.into_iter().flatten().filter_map(number).collect(),
        }
    }
}

fn status(answer: &Json) -> String {
    let status = answer.get("Status").and_then(Json::as_str);
    status.unwrap_or_default().to_uppercase()
}

async fn send(
    client: &Client,
    table: &TableUri,
    method: Method,
    mut query: Vec<(&str, String)>,
    body: Option<Bytes>,
) -> Result<String, Trouble> {
    query.extend(table.partition_spec().map(|spec| ("partition", spec)));
    query.extend(client.quota());
    let ask = Ask {
        service: Service::Tunnel,
        method,
        project: &table.project,
        path: table.path(),
        query,
        body,
    };
    let context = |trouble: Trouble| trouble.context(format!("cannot write {table}"));
    client.text(ask).await.map_err(context)
}

async fn ask(
    client: &Client,
    table: &TableUri,
    method: Method,
    query: Vec<(&str, String)>,
    body: Option<Bytes>,
) -> Result<Json, Trouble> {
    let text = send(client, table, method, query, body).await?;
    serde_json::from_str(&text).map_err(|error| {
        Trouble::Network(Error::new(
            ErrorKind::Corrupt,
            format!("cannot write {table}: the server's answer is not JSON: {error}"),
        ))
    })
}
