//! Tables of ODPS: `odps://project/table/ds=20250115`.

mod note;
mod read;
mod write;

use clipsieve_engine::operator::OperatorError;
use clipsieve_odps::{Client, Credentials, Endpoints, Error, TableSchema, TableUri};
use tokio::runtime::{Builder, Runtime};

pub use read::OdpsReader;
pub(super) use write::OdpsTarget;

/// Whether a URI names a table of ODPS.
pub(super) fn is_odps(uri: &str) -> bool {
    uri.starts_with(TableUri::SCHEME)
}

/// Checks what can be told of a URI without touching anything.
///
/// # Errors
/// What is wrong, as a lowercase fragment.
pub(super) fn check(uri: &str) -> Result<TableUri, String> {
    uri.parse().map_err(|error: Error| error.message)
}

/// A table and the way to it.
struct Service {
    runtime: Runtime,
    client: Client,
    table: TableUri,
    schema: TableSchema,
}

impl Service {
    /// Asks for the table's columns; the endpoint comes from `ODPS_ENDPOINT` if it is not given, the access key from the
    /// environment.
    fn open(uri: &str, endpoint: Option<&str>) -> Result<Self, OperatorError> {
        let table = check(uri).map_err(OperatorError::config)?;
        let variable = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let rest = endpoint
            .map(str::to_owned)
            .or_else(|| variable("ODPS_ENDPOINT"));
        let rest = rest.ok_or_else(|| {
            OperatorError::config(format!(
                "no endpoint is known for `{uri}`; give `endpoint`, or set ODPS_ENDPOINT (https://service.REGION.maxcompute.aliyun.com/api)"
            ))
        })?;
        let endpoints = Endpoints {
            rest,
            tunnel: variable("ODPS_TUNNEL_ENDPOINT"),
            region: variable("ODPS_REGION"),
            quota: variable("ODPS_TUNNEL_QUOTA"),
        };
        let credentials =
            Credentials::from_env(|name| std::env::var(name).ok()).map_err(operator_error)?;
        let client = Client::new(endpoints, credentials).map_err(operator_error)?;
        Self::of(table, client)
    }

    /// The same with a client that is there.
    fn of(table: TableUri, client: Client) -> Result<Self, OperatorError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| OperatorError::temporary(format!("no runtime can be had: {error}")))?;
        let schema = runtime
            .block_on(client.schema(&table))
            .map_err(operator_error)?;
        let service = Self {
            runtime,
            client,
            table,
            schema,
        };
        service.check_partition()?;
        Ok(service)
    }

    /// A table with partitions is read and written a partition at a time.
    fn check_partition(&self) -> Result<(), OperatorError> {
        let keys: Vec<&str> = self
            .schema
            .partition_keys
            .iter()
            .map(|key| key.name.as_str())
            .collect();
        let named: Vec<&str> = self
            .table
            .partition
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        if keys == named {
            return Ok(());
        }
        let table = &self.table;
        Err(OperatorError::config(match keys[..] {
            [] => format!("{table}: the table has no partitions"),
            _ => format!(
                "{table}: name a partition of the table, all of its levels: {}",
                keys.iter()
                    .map(|key| format!("{key}=…"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        }))
    }
}

/// The kinds that the engine knows.
fn operator_error(error: Error) -> OperatorError {
    match error.is_temporary() {
        true => OperatorError::temporary(error.to_string()),
        false => OperatorError::config(error.to_string()),
    }
}
