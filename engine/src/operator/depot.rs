use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::OperatorError;
use crate::lock::lock;

/// What the stages of one process have in common, by name: a model's weights are loaded by the first stage that builds
/// on them and found here by the others. It lives while stages are built; what a stage took out, it keeps.
#[derive(Default)]
pub struct Depot(Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>);

impl Depot {
    /// What is kept under a name, made first if nothing is.
    ///
    /// # Errors
    /// What `make` says; `Internal` if something of another type is kept under the name.
    pub fn get_or_make<T: Any + Send + Sync>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<T, OperatorError>,
    ) -> Result<Arc<T>, OperatorError> {
        let kept = self.kept().get(name).map(Arc::clone);
        // Made without the lock: making one thing may need another. Stages are built one after the other.
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let made: Arc<dyn Any + Send + Sync> = Arc::new(make()?);
                Arc::clone(self.kept().entry(name.to_owned()).or_insert(made))
            }
        };
        kept.downcast().map_err(|_| {
            OperatorError::internal(format!(
                "`{name}` is kept as something else (two operators use one name)"
            ))
        })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<dyn Any + Send + Sync>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_made_once_and_has_one_type() {
        let depot = Depot::default();
        assert!(
            depot
                .get_or_make::<u8>("a", || Err(OperatorError::config("no")))
                .is_err()
        );
        let first = depot.get_or_make("a", || Ok(1_u8)).unwrap();
        let again = depot
            .get_or_make::<u8>("a", || panic!("made twice"))
            .unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(depot.get_or_make("a", || Ok("text")).is_err());
    }
}
