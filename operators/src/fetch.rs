//! `fetch`: from a row to a video file at hand.

use std::path::{Path, PathBuf};

use clipsieve_engine::operator::{
    AsyncTransform, BuildContext, Call, ErrorKind, Executor, Fallback, Finding, Operator,
    OperatorError, OperatorSpec, Outcome, ParamSpec, ParamType, PortKind, Ports, Row, Setting,
    Signature, Value,
};
use futures::future::BoxFuture;

use crate::kinds::{VIDEO, Video};
use crate::media::Medium;
use crate::stores::{Access, Store, StoreError, StoreErrorKind};
use crate::tables::InputRow;

/// Brings a row's video to the local file system.
pub static FETCH: OperatorSpec = OperatorSpec {
    name: "fetch",
    summary: "finds a row's video in the first store that has it and brings it here",
    doc: "\
`tiers` are stores in the order in which they are asked, nearest first; the first that has the file wins. `video_path` is \
then relative to each store's root (or absolute, inside the root of a store on the local file system), and a path that \
leaves the root is refused: `..`, encoded dots, a symbolic link that leads out. Without tiers `video_path` is a path of the \
local file system as it stands. `oss_bucket` is not looked at: a store is one place.

A file on the local file system is used where it lies. Any other is downloaded into the run's temporary folder and removed \
when its item is done.

A tier that has no such file, or an empty one, hands on to the next; so does one that fails. If none has it, the error \
names each tier with its answer, and counts as temporary (worth another attempt) if any tier failed for a moment.",
    example: "fetched: { op: fetch, from: videos, with: { tiers: [cpfs, cache] }, retry: { attempts: 3 } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[PortKind::RECORD],
        output: Some(VIDEO),
    }]),
    params: &[ParamSpec {
        name: "tiers",
        ty: ParamType::List(&ParamType::Store),
        fallback: Fallback::Is("[]"),
        unit: None,
        doc: "Stores to look in, in this order; the local file system if there are none.",
    }],
    executor: Executor::Io,
    concurrency: 6,
    check: Some(check),
    demand: None,
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let tiers = setting.params.texts("tiers");
    tiers
        .iter()
        .enumerate()
        .filter(|(index, tier)| tiers[..*index].contains(tier))
        .map(|(_, tier)| {
            Finding::param("tiers", format!("store `{tier}` is asked twice"))
                .with_help("name each store once, in the order in which to look")
        })
        .collect()
}

fn build(ctx: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let tiers = ctx
        .setting
        .params
        .texts("tiers")
        .into_iter()
        .map(|name| Store::named(ctx.setting.stores, name, Access::Read))
        .collect::<Result<_, _>>()?;
    Ok(Operator::AsyncTransform(Box::new(Fetch {
        tiers,
        scratch: ctx.scratch.to_path_buf(),
    })))
}

struct Fetch {
    tiers: Vec<Store>,
    scratch: PathBuf,
}

impl AsyncTransform for Fetch {
    fn apply<'a>(
        &'a self,
        call: &'a Call,
        inputs: &'a [Value],
    ) -> BoxFuture<'a, Result<Outcome, OperatorError>> {
        Box::pin(async move {
            let [record] = inputs else {
                return Err(OperatorError::internal(format!(
                    "one record is needed, {} inputs came",
                    inputs.len()
                )));
            };
            let path = InputRow::new(record.get::<Row>()?).video_path()?;
            let (path, origin) = if self.tiers.is_empty() {
                (local_file(path).await?, path.to_owned())
            } else {
                self.in_tiers(call, path).await?
            };
            Ok(Outcome::value(Video::new(Medium::file(path), origin)))
        })
    }
}

impl Fetch {
    /// The file and its URL from the first tier that has it.
    async fn in_tiers(&self, call: &Call, path: &str) -> Result<(PathBuf, String), OperatorError> {
        let mut answers: Vec<(&Store, StoreError)> = Vec::new();
        for tier in &self.tiers {
            match self.in_tier(tier, call, path).await {
                Ok(found) => {
                    for (failed, answer) in &answers {
                        if matches!(
                            answer.kind,
                            StoreErrorKind::Temporary | StoreErrorKind::Config
                        ) {
                            tracing::warn!(
                                store = failed.name(),
                                instead = tier.name(),
                                "a store failed and another one had the file: {answer}"
                            );
                        }
                    }
                    return Ok(found);
                }
                Err(answer) => answers.push((tier, answer)),
            }
        }
        Err(none_has_it(path, &answers))
    }

    async fn in_tier(
        &self,
        tier: &Store,
        call: &Call,
        path: &str,
    ) -> Result<(PathBuf, String), StoreError> {
        let stored = tier.locate(path).await?;
        let origin = tier.url_of(stored.key.as_str());
        if let Some(local) = stored.local {
            return Ok((local, origin));
        }
        // Reserves the name, and removes the file when it is dropped: with the item, or with this future.
        let copy = tempfile::Builder::new()
            .prefix("fetch-")
            .suffix(&extension(stored.key.as_str()))
            .tempfile_in(&self.scratch)
            .map_err(|error| {
                StoreError::of_io(&format!("writing in {}", self.scratch.display()), &error)
            })?
            .into_temp_path();
        tier.download(&stored, &copy).await?;
        let path = copy.to_path_buf();
        call.item.keep(copy);
        Ok((path, origin))
    }
}

/// A path of the local file system, checked and made absolute (so that a file called `pipe:1` is a file to everyone).
async fn local_file(path: &str) -> Result<PathBuf, OperatorError> {
    let failed = |error| StoreError::of_io(&format!("looking for `{path}`"), &error);
    let refuse = |what: &str| Err(OperatorError::bad_input(format!("`{path}` is {what}")));
    let about = tokio::fs::metadata(path).await.map_err(failed)?;
    if about.is_dir() {
        return refuse("a folder; a file is needed");
    }
    if !about.is_file() {
        return refuse("a special file; a regular one is needed");
    }
    if about.len() == 0 {
        return refuse("an empty file");
    }
    Ok(std::path::absolute(path).map_err(failed)?)
}

/// The error that tells each tier's answer. Its kind is that of the answer that gives most hope of another end.
fn none_has_it(path: &str, answers: &[(&Store, StoreError)]) -> OperatorError {
    let any = |kind| answers.iter().any(|(_, answer)| answer.kind == kind);
    let kind = if any(StoreErrorKind::Temporary) {
        ErrorKind::Temporary
    } else if any(StoreErrorKind::Config) {
        ErrorKind::Config
    } else {
        ErrorKind::BadInput
    };
    let told: Vec<String> = answers
        .iter()
        .map(|(tier, answer)| match answer.kind {
            StoreErrorKind::NotFound => format!("{}: not found", tier.name()),
            _ => format!("{}: {}", tier.name(), answer.message),
        })
        .collect();
    OperatorError::new(kind, format!("no tier has {path:?} ({})", told.join("; ")))
}

/// A file's extension with its dot, if it is a plain one: decoders look at it.
fn extension(key: &str) -> String {
    Path::new(key)
        .extension()
        .and_then(|extension| extension.to_str())
        .filter(|extension| {
            extension.len() <= 8 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        .map(|extension| format!(".{extension}"))
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use clipsieve_engine::operator::{Deadline, Item};
    use serde_json::{Map, json};
    use tempfile::TempDir;

    use super::*;

    fn record(path: &str) -> Row {
        Row(Map::from_iter([("video_path".to_owned(), json!(path))]))
    }

    fn call() -> Call {
        Call {
            item: Arc::new(Item::new(0, Row::default(), Deadline::never())),
            attempt: 1,
            deadline: Deadline::never(),
        }
    }

    fn disk(name: &str, root: &TempDir) -> Store {
        let settings = json!({"type": "fs", "root": root.path()});
        Store::open(name, &settings, Access::Read).unwrap()
    }

    fn fetch(tiers: Vec<Store>, scratch: &Path) -> Fetch {
        Fetch {
            tiers,
            scratch: scratch.to_path_buf(),
        }
    }

    async fn video(fetch: &Fetch, call: &Call, path: &str) -> Result<Video, OperatorError> {
        match fetch.apply(call, &[Value::new(record(path))]).await? {
            Outcome::Value(value) => Ok(value.get::<Video>()?.clone()),
            Outcome::Skipped(why) => panic!("skipped: {why}"),
        }
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn without_tiers_the_path_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let text = path.to_str().unwrap();
        fs::write(&path, "video").unwrap();
        let fetch = fetch(Vec::new(), folder.path());
        let found = video(&fetch, &call(), text).await.unwrap();
        assert_eq!(
            (found.medium.local_path(), found.origin.as_str()),
            (Some(path.as_path()), text)
        );
        assert!(found.view.is_none() && found.crop.is_none());

        // Tests run in the package's folder.
        let relative = video(&fetch, &call(), "Cargo.toml").await.unwrap();
        assert!(relative.medium.name().is_absolute());
        assert_eq!(relative.origin, "Cargo.toml");

        fs::write(&path, "").unwrap();
        for (path, why) in [
            (text, "is an empty file"),
            (folder.path().to_str().unwrap(), "is a folder"),
            ("no/such.mp4", "looking for `no/such.mp4`"),
            ("/dev/null", "is a special file"),
            ("a\0b", "looking for"),
        ] {
            let error = video(&fetch, &call(), path).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadInput, "{error}");
            assert!(error.message.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn the_first_tier_that_has_it_wins() {
        let [near, far, scratch] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        fs::write(near.path().join("both.mp4"), "near").unwrap();
        fs::write(far.path().join("both.mp4"), "far").unwrap();
        fs::write(far.path().join("far.mp4"), "far").unwrap();
        fs::write(near.path().join("cut.mp4"), "").unwrap();
        fs::write(far.path().join("cut.mp4"), "far").unwrap();
        let fetch = fetch(vec![disk("near", &near), disk("far", &far)], scratch.path());
        for (path, content) in [("both.mp4", "near"), ("far.mp4", "far"), ("cut.mp4", "far")] {
            let found = video(&fetch, &call(), path).await.unwrap();
            assert_eq!(fs::read_to_string(found.medium.name()).unwrap(), content);
            assert!(found.origin.starts_with("file:///"));
        }
        let error = video(&fetch, &call(), "no.mp4").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadInput);
        assert_eq!(
            error.message,
            "no tier has \"no.mp4\" (near: not found; far: not found)"
        );
        let error = video(&fetch, &call(), "../no.mp4").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadInput);
        assert!(error.message.contains("leaves the store's root"), "{error}");
        assert_eq!(entries(scratch.path()), 0);
    }

    #[tokio::test]
    async fn a_broken_tier_is_passed_by_and_reported_only_if_none_has_it() {
        let [gone, far, scratch] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        fs::write(far.path().join("far.mp4"), "far").unwrap();
        let fetch = fetch(vec![disk("gone", &gone), disk("far", &far)], scratch.path());
        gone.close().unwrap();
        assert!(video(&fetch, &call(), "far.mp4").await.is_ok());
        let error = video(&fetch, &call(), "no.mp4").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Temporary);
        assert!(
            error.message.contains("gone: the store's `root`"),
            "{error}"
        );
        assert!(error.message.contains("far: not found"), "{error}");
    }

    #[tokio::test]
    async fn a_download_lives_as_long_as_its_item() {
        let [work, scratch] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let file = work.path().join("a");
        fs::write(&file, "video").unwrap();
        let settings = json!({"type": "memory", "root": "fetch"});
        let store = Store::open("ram", &settings, Access::Write).unwrap();
        store.upload(&file, "v/a.mp4", "video/mp4").await.unwrap();

        let fetch = fetch(vec![store], scratch.path());
        let call = call();
        let found = video(&fetch, &call, "v/a.mp4").await.unwrap();
        assert_eq!(found.origin, "memory://fetch/v/a.mp4");
        assert_eq!(found.medium.name().extension().unwrap(), "mp4");
        assert_eq!(fs::read(found.medium.name()).unwrap(), b"video");
        assert_eq!(entries(scratch.path()), 1);
        drop(call);
        assert_eq!(entries(scratch.path()), 0);

        let error = video(&fetch, &self::call(), "v/b.mp4").await.unwrap_err();
        assert_eq!(error.message, "no tier has \"v/b.mp4\" (ram: not found)");
        assert_eq!(entries(scratch.path()), 0);
    }

    #[tokio::test]
    async fn a_fetch_that_is_dropped_leaves_nothing() {
        let [work, scratch] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let file = work.path().join("a");
        fs::write(&file, vec![1u8; 1 << 20]).unwrap();
        let settings = json!({"type": "memory", "root": "dropped"});
        let store = Store::open("ram", &settings, Access::Write).unwrap();
        store.upload(&file, "a.mp4", "video/mp4").await.unwrap();
        let fetch = fetch(vec![store], scratch.path());
        let inputs = [Value::new(record("a.mp4"))];
        let mut most = 0;
        for polls in 0..12 {
            let call = call();
            let mut work = fetch.apply(&call, &inputs);
            for _ in 0..polls {
                if futures::poll!(&mut work).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            most = most.max(entries(scratch.path()));
            drop(work);
            drop(call);
            assert_eq!(entries(scratch.path()), 0, "after {polls} polls");
        }
        assert!(most > 0, "no download had begun");
    }

    #[tokio::test]
    async fn a_row_without_a_path_is_bad_input() {
        let scratch = tempfile::tempdir().unwrap();
        let fetch = fetch(Vec::new(), scratch.path());
        let error = fetch
            .apply(&call(), &[Value::new(Row::default())])
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind, ErrorKind::BadInput);
        let error = fetch.apply(&call(), &[Value::new(5)]).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Internal);
    }

    #[test]
    fn only_plain_extensions_are_kept() {
        assert_eq!(extension("a/b.mp4"), ".mp4");
        assert_eq!(extension("a/b"), "");
        assert_eq!(extension("a/b.mp4 x"), "");
        assert_eq!(extension("a.b/c"), "");
        assert_eq!(extension("a.abcdefghi"), "");
    }
}
