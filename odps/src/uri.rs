use std::fmt;
use std::str::FromStr;

use super::{Error, ErrorKind};

/// The name of a table, or of one partition of it: `odps://project/table`, `odps://project/table/ds=20250115,hh=08`,
/// `odps://project/schema/table/ds=20250115`. Levels of a partition may also be parted by `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUri {
    /// The project.
    pub project: String,
    /// The schema, in projects that have them.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// The levels of the partition, outermost first; empty if none is named.
    pub partition: Vec<(String, String)>,
}

impl TableUri {
    /// What such a URI begins with.
    pub const SCHEME: &'static str = "odps://";

    /// The partition as the Tunnel wants it: `ds=20250115,hh=08`.
    pub fn partition_spec(&self) -> Option<String> {
        let levels: Vec<String> = self
            .partition
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!levels.is_empty()).then(|| levels.join(","))
    }

    /// The partition as the metadata service wants it: `ds='20250115',hh='08'`.
    pub(crate) fn quoted_partition(&self) -> String {
        let levels: Vec<String> = self
            .partition
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"))
            .collect();
        levels.join(",")
    }

    /// The resource below an endpoint.
    pub(crate) fn path(&self) -> String {
        match &self.schema {
            Some(schema) => format!(
                "/projects/{}/schemas/{schema}/tables/{}",
                self.project, self.table
            ),
            None => format!("/projects/{}/tables/{}", self.project, self.table),
        }
    }
}

impl FromStr for TableUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: String| {
            Err(Error::new(
                ErrorKind::Config,
                format!("`{text}` {why}; it is odps://PROJECT/TABLE/NAME=VALUE"),
            ))
        };
        let Some(rest) = text.strip_prefix(Self::SCHEME) else {
            return refuse("does not begin with odps://".to_owned());
        };
        let mut names = Vec::new();
        let mut partition: Vec<(String, String)> = Vec::new();
        for part in rest.trim_end_matches('/').split('/') {
            if !part.contains('=') {
                if !partition.is_empty() {
                    return refuse(format!("has `{part}` behind a partition"));
                }
                if !is_name(part) {
                    return refuse(format!("has no name in `{part}`"));
                }
                names.push(part.to_owned());
                continue;
            }
            for level in part.split(',') {
                let Some((name, value)) = level.split_once('=') else {
                    return refuse(format!("has no `=` in the partition level `{level}`"));
                };
                let value = value.trim_matches(['\'', '"']);
                if !is_name(name) || value.is_empty() || value.contains(['\'', '"', '&', '?', '#'])
                {
                    return refuse(format!("has no partition level in `{level}`"));
                }
                if partition.iter().any(|(known, _)| known == name) {
                    return refuse(format!("names the partition level `{name}` twice"));
                }
                partition.push((name.to_owned(), value.to_owned()));
            }
        }
        let mut names = names.into_iter();
        let (project, schema, table) =
            match (names.next(), names.next(), names.next(), names.next()) {
                (Some(project), Some(table), None, _) => (project, None, table),
                (Some(project), Some(schema), Some(table), None) => (project, Some(schema), table),
                _ => return refuse("names no project and table".to_owned()),
            };
        Ok(Self {
            project,
            schema,
            table,
            partition,
        })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

impl fmt::Display for TableUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.project)?;
        if let Some(schema) = &self.schema {
            write!(f, "/{schema}")?;
        }
        write!(f, "/{}", self.table)?;
        if let Some(spec) = self.partition_spec() {
            write!(f, "/{spec}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_partitions_are_told_apart() {
        for (text, shown) in [
            ("odps://p/t", "odps://p/t"),
            ("odps://p/t/", "odps://p/t"),
            ("odps://p/t/ds=20250115", "odps://p/t/ds=20250115"),
            (
                "odps://p/t/ds='20250115'/hh=08",
                "odps://p/t/ds=20250115,hh=08",
            ),
            ("odps://p/s/t/ds=1,hh=2", "odps://p/s/t/ds=1,hh=2"),
        ] {
            let uri: TableUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), shown);
        }
        let uri: TableUri = "odps://p/s/t/ds=1,hh=2".parse().unwrap();
        assert_eq!(uri.path(), "/projects/p/schemas/s/tables/t");
        assert_eq!(uri.quoted_partition(), "ds='1',hh='2'");
    }

    #[test]
    fn what_is_no_table_says_what_one_is() {
        for text in [
            "odps://",
            "odps://p",
            "odps://p//t",
            "odps://p/t/=1",
            "odps://p/t/ds=",
            "odps://p/t/ds=1/x",
            "odps://p/t/ds=1,ds=2",
            "odps://a/b/c/d",
            "odps://p/t/ds=1,hh",
            "odps://p/t?x",
            "odps://p/../t",
            "odps://p/t/ds=1&x=2",
            "s3://p/t",
        ] {
            let error = text.parse::<TableUri>().unwrap_err();
            assert!(
                error
                    .message
                    .ends_with("it is odps://PROJECT/TABLE/NAME=VALUE"),
                "{error}"
            );
        }
    }
}
