//! What is said when there is no model where one should be.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::config::CONFIG_FILE;
use crate::error::ModelError;
use crate::weights::{INDEX, SINGLE};

/// How many models nearby are named.
const SHOWN: usize = 5;
/// How many entries of a folder are looked at for models.
const LOOKED_AT: usize = 1024;

/// Whether this is how the system says that a file is not there.
pub(crate) fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The error for a place that holds no model: what is there instead, and where there are some.
pub(crate) fn no_model(place: &Path) -> ModelError {
    let problem = if place.is_file() {
        "is a file: name its folder".to_owned()
    } else {
        let found = if place.is_dir() {
            format!("there is no {CONFIG_FILE} in this folder")
        } else {
            "there is no such folder".to_owned()
        };
        let start = match std::env::current_dir() {
            Ok(start) if place.is_relative() => {
                format!(" (relative paths start at {})", start.display())
            }
            _ => String::new(),
        };
        let nearby = models_near(place);
        let nearby = if nearby.is_empty() {
            nearby
        } else {
            format!("; models nearby: {nearby}")
        };
        format!("{found}; a model is a folder with {CONFIG_FILE} and {SINGLE}{start}{nearby}")
    };
    ModelError::NoModel {
        place: place.to_path_buf(),
        problem,
    }
}

/// The folders in this one that are models, or else those beside it, the first few by name.
fn models_near(place: &Path) -> String {
    let beside = place.parent().unwrap_or(place);
    [place, beside]
        .into_iter()
        .map(models_in)
        .find(|models| !models.is_empty())
        .unwrap_or_default()
        .join(", ")
}

fn models_in(folder: &Path) -> Vec<String> {
    // The parent of a relative path of one part is written as nothing.
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
    let mut models: Vec<String> = entries
        .take(LOOKED_AT)
        .map(|entry| folder.join(entry.file_name()))
        .filter(|model| {
            let has = |name: &str| model.join(name).is_file();
            has(CONFIG_FILE) && (has(SINGLE) || has(INDEX))
        })
        .map(|model| model.display().to_string())
        .collect();
    models.sort();
    models.truncate(SHOWN);
    models
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_model_comes_with_what_is_nearby() {
        let root = tempfile::tempdir().unwrap();
        let says = |place: &Path| no_model(place).to_string();
        let alone = says(&root.path().join("vfx"));
        assert!(
            alone.starts_with("no model at ")
                && alone.ends_with(
                    "vfx: there is no such folder; a model is a folder with config.json and model.safetensors"
                ),
            "{alone}"
        );

        for name in ["g", "f", "e", "d", "c", "b", "a"] {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if name != "a" {
                std::fs::write(folder.join(CONFIG_FILE), "{}").unwrap();
            }
            std::fs::write(folder.join(SINGLE), "").unwrap();
        }
        let named: Vec<String> = ["b", "c", "d", "e", "f"]
            .map(|name| root.path().join(name).display().to_string())
            .into();
        let nearby = format!("; models nearby: {}", named.join(", "));
        // Beside a folder that is not there, beside one that is no model, and in one that holds them.
        let (absent, empty) = (says(&root.path().join("vfx")), says(&root.path().join("a")));
        assert!(absent.ends_with(&nearby), "{absent}");
        assert!(
            empty.contains("there is no config.json in this folder") && empty.ends_with(&nearby),
            "{empty}"
        );
        assert!(says(root.path()).ends_with(&nearby));

        let file = says(&root.path().join("b").join(SINGLE));
        assert!(
            file.ends_with("model.safetensors: is a file: name its folder"),
            "{file}"
        );
    }

    #[test]
    fn relative_paths_say_where_they_start() {
        let message = no_model(Path::new("no/such/folder")).to_string();
        let start = std::env::current_dir().unwrap();
        let expected = format!("(relative paths start at {})", start.display());
        assert!(message.contains(&expected), "{message}");
    }
}
