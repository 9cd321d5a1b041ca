//! The client against the double when things go wrong.

#![allow(clippy::unwrap_used)]

mod support;

use clipsieve_odps::{Client, Error, ErrorKind, Upload, UploadOptions};
use clipsieve_odps_double::{Account, Double, Fault, Step};
use support::*;

const PLAIN: UploadOptions = UploadOptions {
    overwrite: false,
    create_partition: false,
};
const CREATES: UploadOptions = UploadOptions {
    overwrite: false,
    create_partition: true,
};

/// A double with a table of the seed's shape, `odps://p/t/ds=1` holding so many rows.
fn double_with(rows: usize) -> Double {
    let double = Double::start(Account::default()).unwrap();
    double.create("p", "t", &SEED, &["ds"]);
    if rows > 0 {
        write(&double, "odps://p/t/ds=1", &seed_rows(rows), 2);
    }
    double
}

fn read_error(double: &Double) -> Error {
    block_on(try_read(&client(double), "odps://p/t/ds=1")).unwrap_err()
}

#[test]
fn rows_come_whole_through_everything_that_may_pass() {
    let double = double_with(5000);
    double.misbehave(
        Step::Download,
        [Fault::Status(503), Fault::Initiating, Fault::Initiating],
    );
    double.misbehave(
        Step::Rows,
        [
            Fault::Status(500),
            Fault::Status(429),
            Fault::Status(308),
            Fault::NoAnswer,
            Fault::CutAnswer(0),
            Fault::CutAnswer(700_000),
            Fault::Flip(400_000),
            Fault::CutAnswer(400_000),
            Fault::FewerRows,
        ],
    );
    assert!(read(&double, "odps://p/t/ds=1") == seed_rows(5000));
    assert_eq!(double.count(Step::Rows), 10);
}

#[test]
fn what_stays_broken_is_told() {
    for (fault, kind, text) in [
        (Fault::Flip(1_000), ErrorKind::Corrupt, "checksum"),
        (
            Fault::CutAnswer(1_000),
            ErrorKind::Temporary,
            "the connection broke",
        ),
        (Fault::FewerRows, ErrorKind::Corrupt, "rows where"),
        (Fault::Status(502), ErrorKind::Temporary, "502"),
        (Fault::Status(403), ErrorKind::Permission, "403"),
        (Fault::Expired, ErrorKind::Expired, "sessions last a day"),
    ] {
        let double = double_with(10);
        double.misbehave(Step::Rows, [fault; 12]);
        let error = read_error(&double);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(text), "{error}");
        assert!(
            error.message.contains("cannot read odps://p/t/ds=1 at row"),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_there_is_named() {
    let double = double_with(0);
    let told = |error: Error, kind, text: &str| {
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.request_id.is_some());
    };
    told(read_error(&double), ErrorKind::NotFound, "NoSuchPartition");
    let read = |table| block_on(try_read(&client(&double), table)).unwrap_err();
    told(read("odps://p/t"), ErrorKind::Refused, "not one of (ds)");
    told(
        read("odps://p/nothing"),
        ErrorKind::NotFound,
        "table p.nothing does not exist",
    );
    let schema = block_on(client(&double).schema(&uri("odps://p/nothing"))).unwrap_err();
    told(schema, ErrorKind::NotFound, "NoSuchTable");
    let unmade = block_on(try_write(
        &client(&double),
        "odps://p/t/ds=1",
        &seed_rows(1),
        1,
        PLAIN,
    ));
    told(unmade.unwrap_err(), ErrorKind::NotFound, "NoSuchPartition");
    assert!(!block_on(client(&double).has_partition(&uri("odps://p/t/ds=1"))).unwrap());
    write(&double, "odps://p/t/ds=1", &[], 1);
    assert!(block_on(client(&double).has_partition(&uri("odps://p/t/ds=1"))).unwrap());
}

#[test]
fn a_wrong_key_is_told_and_never_shown() {
    let double = double_with(1);
    let account = double.account();
    for (id, key) in [
        (account.access_id.as_str(), "wrong-key"),
        ("nobody", account.access_key.as_str()),
    ] {
        let client = client_of(&double, id, key);
        for error in [
            block_on(try_read(&client, "odps://p/t/ds=1")).unwrap_err(),
            block_on(client.schema(&uri("odps://p/t"))).unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::Credentials, "{error}");
            assert!(error.message.contains("check the access key"), "{error}");
            assert!(!error.to_string().contains(key), "{error}");
        }
        assert!(!format!("{client:?}").contains(key));
    }
}

#[test]
fn a_temporary_key_comes_with_its_token() {
    let account = Account {
        sts_token: Some("token".to_owned()),
        ..Account::default()
    };
    let double = Double::start(account).unwrap();
    double.create("p", "t", &SEED, &[]);
    write(&double, "odps://p/t", &seed_rows(3), 1);
    assert_eq!(read(&double, "odps://p/t"), seed_rows(3));
}

#[test]
fn a_service_without_version_4_gets_version_2() {
    let double = double_with(1);
    let endpoints = clipsieve_odps::Endpoints {
        rest: double.endpoint(),
        region: Some("cn-hangzhou".to_owned()),
        ..Default::default()
    };
    let account = double.account();
    let credentials =
        clipsieve_odps::Credentials::new(&account.access_id, &account.access_key, None);
    let client = Client::new(endpoints, credentials).unwrap();
    block_on(client.schema(&uri("odps://p/t"))).unwrap();
    assert!(double.signatures().iter().all(|version| *version == 2));
}

#[test]
fn nothing_is_visible_before_the_commit_and_a_block_replaces_itself() {
    let double = double_with(0);
    let client = client(&double);
    block_on(async {
        let table = uri("odps://p/t/ds=1");
        let upload = Upload::open(&client, &table, CREATES).await.unwrap();
        let first = batch(&upload, &seed_rows(10));
        let second = batch(&upload, &seed_rows(20));
        upload
            .block(&client, 0, std::slice::from_ref(&first))
            .await
            .unwrap();
        upload
            .block(&client, 0, &[second.clone(), first])
            .await
            .unwrap();
        upload.block(&client, 1, &[]).await.unwrap();
        assert_eq!(double.rows("p", "t", "ds=1").unwrap().len(), 0);
        // A block that is not there, or one that nobody knows of.
        let error = upload.commit(&client, 3).await.unwrap_err();
        assert!(
            error.message.contains("block 2 of 3 did not arrive"),
            "{error}"
        );
        let error = upload.commit(&client, 1).await.unwrap_err();
        assert!(
            error
                .message
                .contains("there is a block 1, and 1 were sent"),
            "{error}"
        );
        assert_eq!(double.rows("p", "t", "ds=1").unwrap().len(), 0);
        let again = Upload::resume(&client, &table, upload.id()).await.unwrap();
        again.commit(&client, 2).await.unwrap();
        assert_eq!(double.rows("p", "t", "ds=1").unwrap().len(), 30);
        // Once more is no error, and changes nothing.
        upload.commit(&client, 2).await.unwrap();
        assert_eq!(double.rows("p", "t", "ds=1").unwrap().len(), 30);
        let error = upload.block(&client, 2, &[second]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Expired, "{error}");
    });
}

#[test]
fn rows_are_written_once_through_everything_that_may_pass() {
    let double = double_with(0);
    double.misbehave(Step::Upload, [Fault::Status(500), Fault::Status(429)]);
    double.misbehave(
        Step::Block,
        [
            Fault::NoAnswer,
            Fault::Status(503),
            Fault::CutAnswer(0),
            Fault::Status(408),
        ],
    );
    double.misbehave(Step::Look, [Fault::Status(500), Fault::CutAnswer(3)]);
    // The commit is done each time that the answer is lost; it must not be done twice.
    double.misbehave(Step::Commit, [Fault::Status(500), Fault::NoAnswer]);
    let rows = seed_rows(3000);
    write(&double, "odps://p/t/ds=1", &rows, 4);
    assert_eq!(double.count(Step::Commit), 2);
    assert!(read(&double, "odps://p/t/ds=1") == rows);
}

#[test]
fn rows_are_added_or_replace_what_was_there() {
    let double = double_with(5);
    write(&double, "odps://p/t/ds=1", &seed_rows(3), 1);
    assert_eq!(read(&double, "odps://p/t/ds=1").len(), 8);
    let replaces = UploadOptions {
        overwrite: true,
        create_partition: false,
    };
    block_on(try_write(
        &client(&double),
        "odps://p/t/ds=1",
        &seed_rows(2),
        1,
        replaces,
    ))
    .unwrap();
    assert!(read(&double, "odps://p/t/ds=1") == seed_rows(2));
}

#[test]
fn a_service_that_is_not_there_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let endpoints = clipsieve_odps::Endpoints {
        rest: format!("http://127.0.0.1:{port}/api"),
        ..Default::default()
    };
    let credentials = clipsieve_odps::Credentials::new("id", "key", None);
    let client = Client::new(endpoints, credentials)
        .unwrap()
        .with_policy(hasty());
    let error = block_on(client.schema(&uri("odps://p/t"))).unwrap_err();
    assert!(
        error.is_temporary() && error.message.contains("no connection"),
        "{error}"
    );
    for endpoint in ["", "nowhere", "ftp://x/api"] {
        let endpoints = clipsieve_odps::Endpoints {
            rest: endpoint.to_owned(),
            ..Default::default()
        };
        let credentials = clipsieve_odps::Credentials::new("id", "key", None);
        assert!(
            Client::new(endpoints, credentials)
                .unwrap_err()
                .message
                .contains("is no endpoint")
        );
    }
}
