//! The `memory` service: files in the memory of this process, for trials and tests.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use opendal::Operator;
use opendal::services::Memory;

use super::service::SettingSpec;
use super::{Access, Opened, Service, SettingKind, Settings, StoreError};

pub(super) const MEMORY: Service = Service {
    name: "memory",
    summary: "files in the memory of the process, gone when it ends; for trials and tests",
    settings: &[SettingSpec::new(
        "root",
        SettingKind::Text,
        "A name that keeps several memory stores apart; those with one name share their files.",
    )],
    open,
};

/// The memory stores of this process by their `root`: stages that name one store see the same files.
static OPENED: LazyLock<Mutex<BTreeMap<String, Operator>>> = LazyLock::new(Mutex::default);

fn open(settings: &Settings, _access: Access) -> Result<Opened, StoreError> {
    let root = settings.get("root").unwrap_or("").trim_matches('/');
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let operator = match opened.get(root) {
        Some(operator) => operator.clone(),
        None => {
            let operator = Operator::new(Memory::default())
                .map_err(|error| StoreError::of_service("opening the store", &error))?;
            opened.insert(root.to_owned(), operator.clone());
            operator
        }
    };
    Ok(Opened {
        operator,
        local_root: None,
        base_url: format!("memory://{root}"),
    })
}
