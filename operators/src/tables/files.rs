//! What a folder, a glob or a file of the local file system names: videos as rows, or tables.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use clipsieve_engine::operator::{OperatorError, Row, Source, SourceRow};
use glob::MatchOptions;
use serde_json::{Map, json};

use super::Format;
use super::format::{cannot_read, extensions};

/// The file extensions that mean a video, in lower case.
pub const VIDEO_EXTENSIONS: [&str; 23] = [
    "3g2", "3gp", "asf", "avi", "f4v", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg",
    "mts", "mxf", "ogv", "rm", "rmvb", "ts", "vob", "webm", "wmv", "y4m",
];

/// Video files as rows, in the order of their paths: `video_id` is the file's name without its extension, or its path
/// below the folder where two names are the same; `video_path` is the path as it was found; the other columns are empty.
pub struct VideoFiles {
    files: std::vec::IntoIter<(String, PathBuf)>,
    total: u64,
    /// A hash of all paths.
    names: u64,
}

impl VideoFiles {
    fn new(base: &Path, mut paths: Vec<PathBuf>) -> Self {
        paths.sort();
        paths.dedup();
        let files: Vec<_> = ids(base, &paths).into_iter().zip(paths).collect();
        // FNV-1a: the same in every build, which the standard library's hash is not.
        let mut names = 0xcbf2_9ce4_8422_2325_u64;
        for (_, path) in &files {
            for byte in path.as_os_str().as_encoded_bytes().iter().chain(b"\n") {
                names = (names ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Self {
            total: files.len() as u64,
            names,
            files: files.into_iter(),
        }
    }
}

impl Source for VideoFiles {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        Ok(self.files.next().map(|(id, path)| {
            let row = Map::from_iter([
                ("video_id".to_owned(), json!(id)),
                ("oss_bucket".to_owned(), json!("")),
                ("video_path".to_owned(), json!(path.to_string_lossy())),
                ("video_tag".to_owned(), json!("")),
                ("info".to_owned(), json!({})),
            ]);
            let problem = path.to_str().is_none().then(|| {
                OperatorError::bad_input(format!(
                    "the name of {} is not UTF-8; rename the file",
                    path.display()
                ))
            });
            SourceRow {
                row: Row(row),
                problem,
            }
        }))
    }

    fn total_rows(&self) -> Option<u64> {
        Some(self.total)
    }

    fn fingerprint(&self) -> Option<String> {
        Some(format!("{} files, names {:016x}", self.total, self.names))
    }
}

/// What a folder or a glob holds. Where there are videos, tables beside them are but other files.
pub(super) enum Found {
    /// Videos, each a row.
    Videos(VideoFiles),
    /// Tables, in the order of their paths.
    Tables(Vec<PathBuf>),
}

/// Whether a path is a video by its extension.
pub fn is_video(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| VIDEO_EXTENSIONS.contains(&extension.to_lowercase().as_str()))
}

/// Whether a URI holds a wildcard.
pub(super) fn is_glob(uri: &str) -> bool {
    uri.contains(['*', '?', '['])
}

/// One video.
pub(super) fn single(path: &Path) -> VideoFiles {
    VideoFiles::new(
        path.parent().unwrap_or(Path::new("")),
        vec![path.to_path_buf()],
    )
}

/// The videos of a folder and of the folders in it, or else the tables. Hidden files and folders are left out; linked folders are followed,
/// but not back into a folder that holds the link.
///
/// # Errors
/// `Config` if a folder cannot be read, or if there is neither a video nor a table.
pub(super) fn folder(path: &Path) -> Result<Found, OperatorError> {
    let mut walk = Walk {
        hidden: false,
        deepest: usize::MAX,
        above: Vec::new(),
        files: Vec::new(),
    };
    walk.folder(path)?;
    sort_out(path, walk.files, false).ok_or_else(|| {
        OperatorError::config(format!(
            "folder {} holds no videos (known extensions: {}) and no tables ({})",
            path.display(),
            VIDEO_EXTENSIONS.join(", "),
            extensions()
        ))
    })
}

/// The videos among files found below `base`, or else the tables, if there are either. Where the extension was spelled
/// out, what is no table by it is a video.
pub(super) fn sort_out(base: &Path, paths: Vec<PathBuf>, spelled: bool) -> Option<Found> {
    let (videos, mut others): (Vec<_>, Vec<_>) = paths
        .into_iter()
        .partition(|path| is_video(path) || (spelled && Format::of(path).is_none()));
    if !videos.is_empty() {
        return Some(Found::Videos(VideoFiles::new(base, videos)));
    }
    others.retain(|path| Format::of(path).is_some());
    others.sort();
    (!others.is_empty()).then_some(Found::Tables(others))
}

/// The videos that a pattern matches, or else the tables: `*` and `?` inside a name, `**` for any folders. Hidden files
/// match only a pattern that spells the dot. A pattern that spells the extension takes it as that of a video if it is not
/// that of a table.
///
/// The folders are walked here and not by the glob crate, which leaves out names that are not UTF-8 (or panics on them).
///
/// # Errors
/// `Config` if it is no pattern, if a folder cannot be read, or if nothing matches.
pub(super) fn glob(pattern: &str) -> Result<Found, OperatorError> {
    let is_fixed = |part: &Component<'_>| !is_glob(&part.as_os_str().to_string_lossy());
    let parts = || Path::new(pattern).components();
    let base: PathBuf = parts().take_while(is_fixed).collect();
    let below: Vec<String> = parts()
        .skip_while(is_fixed)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let matcher = glob::Pattern::new(&below.join("/")).map_err(|error| {
        OperatorError::config(format!("`{pattern}` is no pattern: {}", error.msg))
    })?;
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let mut walk = Walk {
        hidden: below.iter().any(|part| part.starts_with('.')),
        deepest: match below.iter().any(|part| part == "**") {
            true => usize::MAX,
            false => below.len(),
        },
        above: Vec::new(),
        files: Vec::new(),
    };
    let start = if base.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &base
    };
    if start.is_dir() {
        walk.folder(start)?;
    }
    let any_extension = Path::new(pattern)
        .extension()
        .is_some_and(|extension| !is_glob(&extension.to_string_lossy()));
    let matching = |path: PathBuf| {
        let below = path.strip_prefix(start).ok()?;
        matcher
            .matches_with(&below.to_string_lossy(), options)
            .then(|| base.join(below))
    };
    let found = walk.files.into_iter().filter_map(matching).collect();
    sort_out(&base, found, any_extension).ok_or_else(|| {
        OperatorError::config(format!(
            "no video and no table matches `{pattern}`; check the pattern, and quote it if a shell may have changed it"
        ))
    })
}

/// A search through folders.
struct Walk {
    /// Whether hidden files and folders count.
    hidden: bool,
    /// How many folders deep to look, the first being 1.
    deepest: usize,
    /// The folders above the one that is looked at, and itself, links followed.
    above: Vec<PathBuf>,
    /// What was found. A link that leads nowhere is a file: its row tells of it.
    files: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path) -> Result<(), OperatorError> {
        let failed = |error| cannot_read(&folder.to_string_lossy(), &error);
        let real = folder.canonicalize().map_err(failed)?;
        if self.above.len() == self.deepest || self.above.contains(&real) {
            return Ok(());
        }
        self.above.push(real);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !self.hidden && entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if path.is_dir() {
                self.folder(&path)?;
            } else {
                self.files.push(path);
            }
        }
        self.above.pop();
        Ok(())
    }
}

/// An id for each path, no two alike: its stem, or its path below `base` where the stem names another one too.
fn ids(base: &Path, paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let below = |path: &Path| {
        path.strip_prefix(base)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned()
    };
    let mut uses: HashMap<String, usize> = HashMap::new();
    for path in paths {
        *uses.entry(stem(path)).or_default() += 1;
    }
    // A stem can also be what another file is called as a whole: `a.mp4.mkv` beside `a.mp4`.
    let taken: HashSet<String> = paths.iter().map(|path| below(path)).collect();
    paths
        .iter()
        .map(|path| {
            let id = stem(path);
            if uses[&id] == 1 && !taken.contains(&id) {
                id
            } else {
                below(path)
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with these files, made with the folders above them.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "video").unwrap();
        }
        root
    }

    /// Ids and paths below `root`.
    fn rows(root: &Path, mut files: VideoFiles) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        while let Some(found) = files.next_row().unwrap() {
            assert!(found.problem.is_none());
            let path = Path::new(found.row.text("video_path").unwrap());
            let below = path.strip_prefix(root).unwrap().to_str().unwrap();
            rows.push((
                found.row.text("video_id").unwrap().to_owned(),
                below.to_owned(),
            ));
        }
        assert_eq!(files.total_rows(), Some(rows.len() as u64));
        rows
    }

    fn paths(rows: &[(String, String)]) -> Vec<&str> {
        rows.iter().map(|(_, path)| path.as_str()).collect()
    }

    fn videos(found: Found) -> VideoFiles {
        match found {
            Found::Videos(videos) => videos,
            Found::Tables(paths) => panic!("tables {paths:?}"),
        }
    }

    fn folder(path: &Path) -> Result<VideoFiles, OperatorError> {
        super::folder(path).map(videos)
    }

    fn glob(pattern: &str) -> Result<VideoFiles, OperatorError> {
        super::glob(pattern).map(videos)
    }

    fn pattern(root: &Path, pattern: &str) -> Result<VideoFiles, OperatorError> {
        glob(root.join(pattern).to_str().unwrap())
    }

    #[test]
    fn a_folder_is_searched_in_order_without_what_is_hidden_or_no_video() {
        let root = tree(&[
            "b.MP4",
            "a/z.mkv",
            "a/b/c.mov",
            "c.txt",
            ".hidden.mp4",
            ".git/d.mp4",
            "mp4",
            "e.mp4.part",
        ]);
        fs::create_dir(root.path().join("folder.mp4")).unwrap();
        let found = rows(root.path(), folder(root.path()).unwrap());
        assert_eq!(paths(&found), ["a/b/c.mov", "a/z.mkv", "b.MP4"]);
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["c", "z", "b"]);
    }

    #[test]
    fn a_row_of_a_file_has_all_columns() {
        let root = tree(&["a.mp4"]);
        let found = single(&root.path().join("a.mp4"))
            .next_row()
            .unwrap()
            .unwrap();
        assert_eq!(
            serde_json::Value::Object(found.row.0),
            json!({
                "video_id": "a", "oss_bucket": "", "video_path": root.path().join("a.mp4"), "video_tag": "", "info": {},
            })
        );
    }

    #[test]
    fn ids_are_unique_whatever_the_names() {
        let root = tree(&[
            "a/x.mp4",
            "b/x.mp4",
            "b/x.mkv",
            "y.mp4",
            "z.mp4.mkv",
            "z.mp4",
        ]);
        let found = rows(root.path(), folder(root.path()).unwrap());
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(
            ids,
            ["a/x.mp4", "b/x.mkv", "b/x.mp4", "y", "z", "z.mp4.mkv"]
        );
    }

    #[test]
    fn links_are_followed_but_not_round_and_a_dead_one_is_a_row() {
        let root = tree(&["a/x.mp4"]);
        let outside = tree(&["y.mp4"]);
        symlink(root.path(), root.path().join("a/round")).unwrap();
        symlink(outside.path(), root.path().join("b")).unwrap();
        symlink(outside.path(), root.path().join("c")).unwrap();
        symlink("nowhere", root.path().join("dead.mp4")).unwrap();
        let found = rows(root.path(), folder(root.path()).unwrap());
        assert_eq!(paths(&found), ["a/x.mp4", "b/y.mp4", "c/y.mp4", "dead.mp4"]);
        let found = rows(root.path(), pattern(root.path(), "**/y.mp4").unwrap());
        assert_eq!(paths(&found), ["b/y.mp4", "c/y.mp4"]);
    }

    #[test]
    fn an_empty_folder_is_an_error_that_lists_the_extensions() {
        let root = tree(&["a.txt"]);
        let error = folder(root.path()).err().unwrap();
        assert!(
            error
                .message
                .contains("holds no videos (known extensions: 3g2,"),
            "{error}"
        );
    }

    #[test]
    fn a_name_that_is_not_utf8_is_a_failed_row() {
        let root = tree(&[]);
        fs::write(root.path().join(OsStr::from_bytes(b"a\xFF.mp4")), "video").unwrap();
        for mut files in [folder(root.path()), pattern(root.path(), "*.mp4")].map(Result::unwrap) {
            let found = files.next_row().unwrap().unwrap();
            assert!(found.problem.unwrap().message.contains("is not UTF-8"));
        }
    }

    #[test]
    fn patterns_match_names_and_folders() {
        let root = tree(&[
            "a/x1.mp4",
            "a/x2.mkv",
            "a/b/x3.mp4",
            "a/.h.mp4",
            "c.txt",
            "c.mp4",
        ]);
        for (text, expected) in [
            ("*", vec!["c.mp4"]),
            ("*/*", vec!["a/x1.mp4", "a/x2.mkv"]),
            ("**/*.mp4", vec!["a/b/x3.mp4", "a/x1.mp4", "c.mp4"]),
            ("a/x?.mp4", vec!["a/x1.mp4"]),
            ("a/x[23].*", vec!["a/x2.mkv"]),
            ("a/.*.mp4", vec!["a/.h.mp4"]),
            ("*.txt", vec!["c.txt"]),
            ("**/b/*", vec!["a/b/x3.mp4"]),
            ("./a/*.mp4", vec!["a/x1.mp4"]),
        ] {
            let found = rows(root.path(), pattern(root.path(), text).unwrap());
            assert_eq!(paths(&found), expected, "{text}");
        }
    }

    #[test]
    fn a_relative_pattern_gives_relative_paths() {
        // Tests run in the package's folder.
        for (text, path) in [("*.toml", "Cargo.toml"), ("./src/l?b.rs", "./src/lib.rs")] {
            let found = glob(text).unwrap().next_row().unwrap().unwrap();
            assert_eq!(found.row.text("video_path"), Some(path));
        }
    }

    #[test]
    fn ids_of_a_pattern_are_seen_from_its_fixed_part() {
        let root = tree(&["v/a/x.mp4", "v/b/x.mp4"]);
        let found = rows(root.path(), pattern(root.path(), "v/*/x.mp4").unwrap());
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["a/x.mp4", "b/x.mp4"]);
    }

    #[test]
    fn a_pattern_without_a_match_or_sense_is_an_error() {
        let root = tree(&["a.mp4"]);
        let error = pattern(root.path(), "*.mkv").err().unwrap();
        assert!(
            error.message.starts_with("no video and no table matches `"),
            "{error}"
        );
        let error = glob("a/***").err().unwrap();
        assert!(error.message.contains("is no pattern: "), "{error}");
        assert!(glob("a/[").is_err());
        assert!(glob("no/such/*.mp4").is_err());
    }
}
