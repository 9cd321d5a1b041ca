//! `fetch`: from a row to a video file at hand.

mod copy;
mod stream;
mod tiers;

use std::path::PathBuf;
use std::sync::Arc;

use clipsieve_engine::observe::Tally;
use clipsieve_engine::operator::{
    AsyncTransform, BuildContext, Call, Disk, ErrorKind, Executor, Fallback, Finding, Operator,
    OperatorError, OperatorSpec, Outcome, ParamSpec, ParamType, Planner, PortKind, Ports, Row,
    Setting, Signature, Value,
};
use futures::future::BoxFuture;

use crate::kinds::{VIDEO, Video};
use crate::media::Medium;
use crate::stores::{Access, Place, StoreError, StoreErrorKind, Stored};
use crate::tables::InputRow;
use stream::StoreStream;
use tiers::Tier;

/// Brings a row's video to the local file system.
pub static FETCH: OperatorSpec = OperatorSpec {
    name: "fetch",
    summary: "finds a row's video in the first store that has it and brings it here",
    doc: "\
`tiers` are stores in the order in which they are asked, nearest first; the first that has the file wins. `video_path` is \
then relative to each store's root (or absolute, inside the root of a store on the local file system), and a path that \
leaves the root is refused: `..`, encoded dots, a symbolic link that leads out. Without tiers `video_path` is a path of the \
local file system as it stands. Where a store's bucket or root uses columns (`bucket: \"{oss_bucket}\"`), each row is \
looked for in its own.

A file on the local file system is used where it lies. Any other is downloaded: a large one in several ranges at once, \
resumed where it was cut, checked against the length and the checksum that the store tells. The copies of all items \
together stay under `limits.disk`, and a copy goes away when the last stage that reads it has answered.

A tier that has no such file, or an empty one, hands on to the next. So does one that fails, after some tries; one that \
fails again and again is left out for half a minute, unless it is the last. If none has the file, the error names each tier with its answer, and \
counts as temporary (worth another attempt) if any tier failed for a moment. A store that refuses our keys or has no such \
bucket stops the job before it starts. A row with `use_alluxio: false` in its `info` is not looked for in tiers of type \
`alluxio`.

With `stream: true` nothing is downloaded: the stages behind read the file where it lies, by ranges and ahead of the decoder, \
and nothing of it comes to the disk. Where the container's index leads to the wanted frames, a long video moves a fraction of \
its bytes; where all frames are wanted, more than once if several stages decode. A read that breaks goes on where it broke.

All tiers but the last are taken for caches of it: a file is believed if the last tier has one of the same size, or does \
not have it, or does not answer. The run's summary tells how many files came from each tier.",
    example: "fetched: { op: fetch, from: videos, with: { tiers: [cpfs, cache] }, retry: { attempts: 3 } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[PortKind::RECORD],
        output: Some(VIDEO),
    }]),
    params: &[
        ParamSpec {
            name: "tiers",
            ty: ParamType::List(&ParamType::Store),
            fallback: Fallback::Is("[]"),
            unit: None,
            doc: "Stores to look in, in this order; the local file system if there are none.",
        },
        ParamSpec {
            name: "compare",
            ty: ParamType::Bool,
            fallback: Fallback::Is("true"),
            unit: None,
            doc: "Whether a file of a nearer tier is believed only if the last tier has none of another size.",
        },
        ParamSpec {
            name: "stream",
            ty: ParamType::Bool,
            fallback: Fallback::Is("false"),
            unit: None,
            doc: "Whether files that lie elsewhere are read there by ranges instead of being downloaded: for long videos of which few frames are looked at.",
        },
    ],
    executor: Executor::Io,
    concurrency: 6,
    check: Some(check),
    demand: None,
    planner: Planner::NONE,
    build,
};

/// Streamed files up to this size are read whole. Less than for local ones: here bytes cost more than decoding.
const WHOLE_BYTES: u64 = 2 << 20;

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
    let tiers: Vec<Tier> = ctx
        .setting
        .params
        .texts("tiers")
        .into_iter()
        .map(|name| {
            Ok(Tier::new(Place::named(
                ctx.setting.stores,
                name,
                Access::Read,
            )?))
        })
        .collect::<Result<_, OperatorError>>()?;
    for tier in &tiers {
        ctx.tally.add(&tier.hits, 0);
    }
    Ok(Operator::AsyncTransform(Box::new(Fetch {
        tiers,
        compare: ctx.setting.params.bool("compare"),
        stream: ctx.setting.params.bool("stream"),
        scratch: ctx.scratch.to_path_buf(),
        disk: ctx.disk.clone(),
        tally: ctx.tally.clone(),
    })))
}

struct Fetch {
    tiers: Vec<Tier>,
    compare: bool,
    stream: bool,
    scratch: PathBuf,
    disk: Disk,
    tally: Tally,
}

/// A video that was found.
struct Found {
    medium: Medium,
    origin: String,
}

impl AsyncTransform for Fetch {
    fn warm_up(&self) -> Result<(), OperatorError> {
        tiers::probe(&self.tiers)
    }

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
            let row = record.get::<Row>()?;
            let path = InputRow::new(row).video_path()?;
            let found = if self.tiers.is_empty() {
                Found {
                    medium: Medium::file(local_file(path).await?),
                    origin: path.to_owned(),
                }
            } else {
                self.in_tiers(call, row, path).await?
            };
            Ok(Outcome::value(Video::new(found.medium, found.origin)))
        })
    }
}

impl Fetch {
    /// The file and its URL from the first tier that has it.
    async fn in_tiers(&self, call: &Call, row: &Row, path: &str) -> Result<Found, OperatorError> {
        let without_alluxio = !InputRow::new(row).may_use_alluxio()?;
        let mut answers: Vec<(&Tier, StoreError)> = Vec::new();
        for (at, tier) in self.tiers.iter().enumerate() {
            if without_alluxio && tier.is_alluxio() {
                self.tally.add(&tier.skips, 1);
                continue;
            }
            // The last one is asked all the same: there is no other one to ask instead.
            if tier.rests() && at + 1 < self.tiers.len() {
                self.tally.add(&tier.failures, 1);
                answers.push((tier, tier.resting()));
                continue;
            }
            let tried = self.in_tier(tier, call, row, path, without_alluxio).await;
            tier.note(tried.as_ref().err());
            match tried {
                Ok(found) => {
                    self.tally.add(&tier.hits, 1);
                    for (failed, answer) in answers.iter().filter(|(_, answer)| is_failure(answer))
                    {
                        tracing::warn!(
                            store = failed.place.name(),
                            instead = tier.place.name(),
                            "a store failed and another one had the file: {answer}"
                        );
                    }
                    return Ok(found);
                }
                // It is not the tier's fault, and no other tier would help.
                Err(Trouble::Here(error)) => return Err(error),
                Err(Trouble::Tier(answer)) => {
                    if is_failure(&answer) {
                        self.tally.add(&tier.failures, 1);
                    }
                    answers.push((tier, answer));
                }
            }
        }
        if answers.is_empty() {
            return Err(OperatorError::bad_input(
                "`info.use_alluxio` is false, and all tiers are of type alluxio: add a tier of another type to `tiers`",
            ));
        }
        Err(none_has_it(path, &answers))
    }

    async fn in_tier(
        &self,
        tier: &Tier,
        call: &Call,
        row: &Row,
        path: &str,
        without_alluxio: bool,
    ) -> Result<Found, Trouble> {
        let store = tier.place.of(row)?;
        let stored = store.locate(path).await?;
        self.believe(tier, &stored, row, path, without_alluxio)
            .await?;
        let origin = store.url_of(stored.key.as_str());
        if let Some(path) = stored.local {
            let medium = Medium::file(path);
            return Ok(Found { medium, origin });
        }
        if self.stream {
            let stream = Arc::new(StoreStream { store, stored });
            let medium = Medium::stream(origin.clone(), stream).read_whole_up_to(WHOLE_BYTES);
            return Ok(Found { medium, origin });
        }
        let medium = copy::bring(&store, &stored, call, &self.disk, &self.scratch).await?;
        Ok(Found { medium, origin })
    }

    /// Refuses a file of a cache if the last tier has another one in its place.
    async fn believe(
        &self,
        tier: &Tier,
        stored: &Stored,
        row: &Row,
        path: &str,
        without_alluxio: bool,
    ) -> Result<(), StoreError> {
        let may_ask = |origin: &&Tier| {
            let is_other = !std::ptr::eq(tier, *origin);
            is_other && !origin.rests() && !(without_alluxio && origin.is_alluxio())
        };
        let Some(origin) = self.tiers.last().filter(|_| self.compare).filter(may_ask) else {
            return Ok(());
        };
        let asked = async { origin.place.of(row)?.locate(path).await };
        let asked = asked.await.map_err(Trouble::Tier);
        origin.note(asked.as_ref().err());
        match asked {
            Ok(told) if told.bytes != stored.bytes => {
                self.tally.add(&tier.outdated, 1);
                Err(StoreError::new(
                    StoreErrorKind::NotFound,
                    format!(
                        "outdated: it has {} bytes, {} has {}",
                        stored.bytes,
                        origin.place.name(),
                        told.bytes
                    ),
                ))
            }
            Err(Trouble::Tier(answer)) if is_failure(&answer) => {
                self.tally.add(&origin.failures, 1);
                tracing::debug!(
                    store = origin.place.name(),
                    "sizes were not compared: {answer}"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Why a tier gave no file.
enum Trouble {
    /// The tier's answer; the next tier may have it.
    Tier(StoreError),
    /// Something of ours, which another tier would not mend: the disk.
    Here(OperatorError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Trouble::Tier(error)
    }
}

/// Whether a tier did not do its work, other than not having the file.
fn is_failure(answer: &StoreError) -> bool {
    matches!(
        answer.kind,
        StoreErrorKind::Temporary | StoreErrorKind::Config
    )
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
fn none_has_it(path: &str, answers: &[(&Tier, StoreError)]) -> OperatorError {
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
            StoreErrorKind::NotFound if !answer.message.starts_with("outdated") => {
                format!("{}: not found", tier.place.name())
            }
            _ => format!("{}: {}", tier.place.name(), answer.message),
        })
        .collect();
    OperatorError::new(kind, format!("no tier has {path:?} ({})", told.join("; ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use clipsieve_engine::operator::{Deadline, Item};
    use serde_json::{Map, json};
    use tempfile::TempDir;

    use super::*;
    use crate::stores::Store;

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
            tiers: tiers
                .into_iter()
                .map(|store| Tier::new(store.into()))
                .collect(),
            compare: true,
            stream: false,
            scratch: scratch.to_path_buf(),
            disk: Disk::unbounded(),
            tally: Tally::default(),
        }
    }

    async fn video(fetch: &Fetch, call: &Call, path: &str) -> Result<Video, OperatorError> {
        match fetch.apply(call, &[Value::new(record(path))]).await? {
            Outcome::Value(value) => Ok(value.get::<Video>()?.clone()),
            Outcome::Skipped(why) => panic!("skipped: {why}"),
            Outcome::Parts(_) => panic!("it has no parts"),
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
        fs::write(far.path().join("both.mp4"), "farr").unwrap();
        fs::write(far.path().join("far.mp4"), "far").unwrap();
        fs::write(near.path().join("cut.mp4"), "").unwrap();
        fs::write(far.path().join("cut.mp4"), "far").unwrap();
        let fetch = fetch(vec![disk("near", &near), disk("far", &far)], scratch.path());
        fs::write(near.path().join("old.mp4"), "of another size").unwrap();
        fs::write(far.path().join("old.mp4"), "new").unwrap();
        fs::write(near.path().join("own.mp4"), "near").unwrap();
        for (path, content) in [
            ("both.mp4", "near"),
            ("far.mp4", "far"),
            ("cut.mp4", "far"),
            ("old.mp4", "new"),
            ("own.mp4", "near"),
        ] {
            let found = video(&fetch, &call(), path).await.unwrap();
            assert_eq!(fs::read_to_string(found.medium.name()).unwrap(), content);
            assert!(found.origin.starts_with("file:///"));
        }
        let counts = fetch.tally.counts();
        let count = |name: &str| counts.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(
            (
                count("from near"),
                count("from far"),
                count("outdated in near")
            ),
            (2, 3, 1)
        );
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
    async fn a_download_lives_as_long_as_its_video() {
        let [work, scratch] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let file = work.path().join("a");
        fs::write(&file, "video").unwrap();
        let settings = json!({"type": "memory", "root": "fetch"});
        let store = Store::open("ram", &settings, Access::Write).unwrap();
        store.put_file("v/a.mp4", &file, "video/mp4").await.unwrap();

        let fetch = fetch(vec![store], scratch.path());
        let call = call();
        let found = video(&fetch, &call, "v/a.mp4").await.unwrap();
        assert_eq!(found.origin, "memory://fetch/v/a.mp4");
        assert_eq!(found.medium.name().extension().unwrap(), "mp4");
        assert_eq!(fs::read(found.medium.name()).unwrap(), b"video");
        assert_eq!(entries(scratch.path()), 1);
        // Whoever wants only its name does not keep it.
        let told = found.medium.unheld();
        drop(found);
        assert_eq!(entries(scratch.path()), 0);
        assert_eq!(told.name().extension().unwrap(), "mp4");

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
        store.put_file("a.mp4", &file, "video/mp4").await.unwrap();
        let fetch = fetch(vec![store], scratch.path());
        let inputs = [Value::new(record("a.mp4"))];
        let mut most = 0;
        for micros in [0, 20, 50, 100, 200, 500, 1_000, 3_000, 10_000, 5_000_000] {
            let call = call();
            let work = fetch.apply(&call, &inputs);
            let done = tokio::time::timeout(Duration::from_micros(micros), work).await;
            most = most.max(entries(scratch.path()));
            drop(done);
            drop(call);
            // Another thread takes the half-written copy away.
            let until = Instant::now() + Duration::from_secs(5);
            while entries(scratch.path()) > 0 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(entries(scratch.path()), 0, "after {micros} µs");
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
}
