//! Which columns of a table are those of an input row.

use std::collections::BTreeMap;

use clipsieve_engine::compile::nearest;
use clipsieve_engine::operator::{OperatorError, Row, Source, SourceRow};
use serde_json::Value as Json;

use super::input::COLUMNS;

/// The column that every row must have.
const PATH: &str = "video_path";

/// What the columns of an input row are called in a table, and whether a table has to have them.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The table's column by that of the input row, where they differ.
    by_column: BTreeMap<String, String>,
    are_needed: bool,
}

impl Names {
    /// Those of an input row, each as it is but for pairs like `video_path=path`: a column of an input row, and what the
    /// table calls it.
    ///
    /// # Errors
    /// What is wrong with a pair, as a lowercase fragment.
    pub fn of_input(pairs: &[&str]) -> Result<Self, String> {
        let mut by_column = BTreeMap::new();
        for pair in pairs {
            let Some((column, named)) = pair.split_once('=') else {
                return Err(format!(
                    "`{pair}` is no pair; write COLUMN=NAME, such as `{PATH}=path`"
                ));
            };
            let (column, named) = (column.trim(), named.trim());
            if !COLUMNS.contains(&column) {
                let near = nearest(column, COLUMNS);
                let help = near.map_or_else(
                    || format!("there are {}", COLUMNS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(format!("an input row has no column `{column}`; {help}"));
            }
            if named.is_empty() {
                return Err(format!("`{pair}` does not say what the table calls it"));
            }
            if by_column
                .insert(column.to_owned(), named.to_owned())
                .is_some()
            {
                return Err(format!("`{column}` is named twice"));
            }
        }
        Ok(Self {
            by_column,
            are_needed: true,
        })
    }

    /// The same, of a table whose header is no reason to stop: what its rows lack is told of them.
    pub(super) fn unchecked(&self) -> Self {
        Self {
            are_needed: false,
            ..self.clone()
        }
    }

    /// Checks the columns of a table called `table`, where they are known before its rows.
    ///
    /// # Errors
    /// `Config` if one that is needed is not among them.
    pub(super) fn check(&self, table: &str, header: &[&str]) -> Result<(), OperatorError> {
        if !self.are_needed {
            return Ok(());
        }
        let path = (!self.by_column.contains_key(PATH)).then_some(PATH);
        let named = self.by_column.values().map(String::as_str);
        let Some(missing) = named.chain(path).find(|name| !header.contains(name)) else {
            return Ok(());
        };
        let known = header.iter().take(12).copied();
        let mut message = format!(
            "cannot read {table}: it has no column `{missing}`; it has: {}",
            known.collect::<Vec<_>>().join(", ")
        );
        let separator = [';', '\t', '|', ',']
            .into_iter()
            .find(|sign| header.len() == 1 && header[0].contains(*sign));
        if let Some(separator) = separator {
            message.push_str(&format!(
                ". Its values seem to stand between {separator:?}: write it with commas (`.csv`) or tabs (`.tsv`)"
            ));
        } else if let Some(near) = nearest(missing, header.iter().copied()) {
            message.push_str(&format!(
                ". Did you mean `{near}`? Rename it, or say `columns: [{PATH}={near}]`"
            ));
        } else if missing == PATH {
            message.push_str(&format!(
                ". If another one holds the paths of the videos, say `columns: [{PATH}=NAME]`"
            ));
        }
        Err(OperatorError::config(message))
    }

    /// The rows of a table, with the columns of an input row.
    pub(super) fn over(&self, rows: Box<dyn Source>) -> Box<dyn Source> {
        if self.by_column.is_empty() {
            return rows;
        }
        Box::new(Named {
            names: self.clone(),
            rows,
        })
    }
}

/// The rows of a table that calls its columns otherwise.
struct Named {
    names: Names,
    rows: Box<dyn Source>,
}

impl Named {
    /// Adds the columns of an input row. Those that they come from stay, so that what is written can be read again.
    fn name(&self, row: &mut Row) -> Result<(), OperatorError> {
        let columns = self.names.by_column.iter();
        let found: Vec<(&String, &String, Option<Json>)> = columns
            .map(|(column, named)| (column, named, row.0.get(named).cloned()))
            .collect();
        let mut missing = None;
        for (column, named, value) in found {
            match value {
                Some(value) => {
                    row.0.insert(column.clone(), value);
                }
                None => {
                    row.0.remove(column);
                    missing = missing.or((column == PATH).then_some(named));
                }
            }
        }
        missing.map_or(Ok(()), |named| {
            let known = row.0.keys().take(12).map(String::as_str);
            Err(OperatorError::bad_input(format!(
                "column `{named}`, which is to be `{PATH}`, is missing; the row has: {}",
                known.collect::<Vec<_>>().join(", ")
            )))
        })
    }
}

impl Source for Named {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        let Some(mut found) = self.rows.next_row()? else {
            return Ok(None);
        };
        if found.problem.is_none() {
            found.problem = self.name(&mut found.row).err();
        }
        Ok(Some(found))
    }

    fn total_rows(&self) -> Option<u64> {
        self.rows.total_rows()
    }

    fn fingerprint(&self) -> Option<String> {
        self.rows.fingerprint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pairs_name_columns_of_input_rows() {
        assert!(Names::of_input(&["video_path=path", " info = meta "]).is_ok());
        for (pairs, why) in [
            (&["path"][..], "is no pair"),
            (&["video_pth=path"], "did you mean `video_path`?"),
            (&["shard=path"], "there are video_id, "),
            (&["info="], "does not say"),
            (&["info=a", "info=b"], "named twice"),
        ] {
            let told = Names::of_input(pairs).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_header_without_a_path_says_how_to_mend_it() {
        let told = |pairs: &[&str], header: &[&str]| {
            let names = Names::of_input(pairs).unwrap();
            names
                .check("t.csv", header)
                .err()
                .map(|error| error.message)
        };
        assert_eq!(told(&[], &["video_id", "video_path"]), None);
        assert_eq!(told(&["video_path=path"], &["id", "path"]), None);
        assert_eq!(
            told(&[], &["video_id", "video_pth"]).unwrap(),
            "cannot read t.csv: it has no column `video_path`; it has: video_id, video_pth. Did you mean `video_pth`? \
             Rename it, or say `columns: [video_path=video_pth]`"
        );
        assert!(
            told(&[], &["id", "url"])
                .unwrap()
                .contains("[video_path=NAME]")
        );
        let told_of_one = told(&[], &["video_id;video_path"]).unwrap();
        assert!(told_of_one.contains("stand between ';'"), "{told_of_one}");
        assert!(
            told(&["info=meta"], &["video_path"])
                .unwrap()
                .contains("no column `meta`")
        );
        assert!(Names::default().check("t.csv", &["n"]).is_ok());
        let names = Names::of_input(&["info=meta"]).unwrap().unchecked();
        assert!(names.check("t.csv", &["n"]).is_ok());
    }
}
