use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use clipsieve_engine::operator::{OperatorError, Row, Stores};

use super::store::settings_named;
use super::{Access, Settings, Store, StoreError};

/// Most stores of rows that are kept open.
const MOST_OPEN: usize = 256;

/// A store of the pipeline file as rows see it: the same for all of them, or, where its bucket or root uses columns
/// (`bucket: "{oss_bucket}"`), one for each value of these.
pub struct Place {
    name: String,
    access: Access,
    kind: Kind,
}

enum Kind {
    Fixed(Store),
    OfRow(Settings, Mutex<HashMap<String, Store>>),
}

impl Place {
    /// Opens the store that the pipeline file calls `name`. Touches no network.
    ///
    /// # Errors
    /// `Config` if there is none of that name, or if it cannot be opened.
    pub fn named(stores: &Stores, name: &str, access: Access) -> Result<Self, OperatorError> {
        let settings = settings_named(stores, name)?;
        let kind = if settings.depends_on_row() {
            Kind::OfRow(settings, Mutex::default())
        } else {
            let store = Store::of_settings(name, &settings, access);
            Kind::Fixed(store.map_err(|error| {
                OperatorError::config(format!("store `{name}`: {}", error.message))
            })?)
        };
        Ok(Self {
            name: name.to_owned(),
            access,
            kind,
        })
    }

    /// What the pipeline file calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `type` of its service.
    pub fn service(&self) -> &'static str {
        match &self.kind {
            Kind::Fixed(store) => store.0.service,
            Kind::OfRow(settings, _) => settings.service.name,
        }
    }

    /// The store, if it is the same for all rows.
    pub fn fixed(&self) -> Option<&Store> {
        match &self.kind {
            Kind::Fixed(store) => Some(store),
            Kind::OfRow(..) => None,
        }
    }

    /// The store of this row.
    ///
    /// # Errors
    /// `BadInput` if a column that its settings use is missing or holds no name; `Config` if it cannot be opened, which
    /// for a folder that the row chooses is `NotFound`.
    pub fn of(&self, row: &Row) -> Result<Store, StoreError> {
        let (settings, open) = match &self.kind {
            Kind::Fixed(store) => return Ok(store.clone()),
            Kind::OfRow(settings, open) => (settings, open),
        };
        let settings = settings.of(row)?;
        let id = format!(
            "{:?} {:?}",
            settings.get("bucket").unwrap_or_default(),
            settings.get("root").unwrap_or_default()
        );
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&id) {
            return Ok(store.clone());
        }
        let store = Store::of_settings(&self.name, &settings, self.access).map_err(|error| {
            let missing = settings.service.name == "fs" && self.access == Access::Read;
            if missing {
                StoreError::new(super::StoreErrorKind::NotFound, error.message)
            } else {
                error
            }
        })?;
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        open.insert(id, store.clone());
        Ok(store)
    }
}

impl From<Store> for Place {
    fn from(store: Store) -> Self {
        Self {
            name: store.name().to_owned(),
            access: Access::Read,
            kind: Kind::Fixed(store),
        }
    }
}
