//! The `s3` service: AWS S3 and everything that speaks its language (MinIO, Ceph, R2 …).

use opendal::Operator;
use opendal::services::S3 as Builder;

use super::SettingKind::{OfRow, Secret, Switch, Text};
use super::service::{SettingSpec, TIMEOUT};
use super::{Access, Opened, Service, Settings, StoreError, transport};

pub(super) const S3: Service = Service {
    name: "s3",
    summary: "a bucket of AWS S3 or of any store that speaks its language",
    settings: &[
        SettingSpec::needed(
            "bucket",
            OfRow,
            "The bucket; may use the row's columns: `{oss_bucket}`.",
        ),
        SettingSpec::new(
            "root",
            OfRow,
            "The folder in the bucket; all of it if not given. May use the row's columns.",
        ),
        SettingSpec::new(
            "endpoint",
            Text,
            "`https://host[:port]`; AWS itself if not given.",
        ),
        SettingSpec::new(
            "region",
            Text,
            "The region; `AWS_REGION`, else `us-east-1`, if not given.",
        ),
        SettingSpec::new(
            "access_key_id",
            Secret,
            "The key's name; the environment (`AWS_ACCESS_KEY_ID` …) and `~/.aws` are asked if not given.",
        ),
        SettingSpec::new("secret_access_key", Secret, "The key."),
        SettingSpec::new("session_token", Secret, "The token of a temporary key."),
        SettingSpec::new(
            "addressing",
            Text,
            "`path` (`host/bucket/key`; the default) or `virtual` (`bucket.host/key`).",
        ),
        SettingSpec::new(
            "anonymous",
            Switch,
            "`true` for a public bucket: requests are not signed.",
        ),
        SettingSpec::new(
            "machine_role",
            Switch,
            "`true` to ask the machine (EC2) for its role's key.",
        ),
        TIMEOUT,
    ],
    open,
};

fn open(settings: &Settings, _access: Access) -> Result<Opened, StoreError> {
    let bucket = settings.required("bucket")?;
    let mut builder = Builder::default().bucket(bucket);
    if let Some(root) = settings.get("root") {
        builder = builder.root(root);
    }
    if let Some(endpoint) = settings.endpoint()? {
        builder = builder.endpoint(&endpoint);
    }
    let region = settings.get("region").map(str::to_owned);
    let region = region
        .or_else(|| std::env::var("AWS_REGION").ok())
        .unwrap_or_else(|| "us-east-1".to_owned());
    builder = builder.region(&region);
    match (
        settings.secret("access_key_id")?,
        settings.secret("secret_access_key")?,
    ) {
        (Some(id), Some(key)) => {
            builder = builder.access_key_id(&id).secret_access_key(&key);
        }
        (None, None) => {}
        _ => {
            return Err(StoreError::config(
                "`access_key_id` and `secret_access_key` belong together; one of them is missing",
            ));
        }
    }
    if let Some(token) = settings.secret("session_token")? {
        builder = builder.session_token(&token);
    }
    if settings.is_virtual_hosted(false)? {
        builder = builder.enable_virtual_host_style();
    }
    if settings.is_on("anonymous") {
        builder = builder.skip_signature();
    }
    if !settings.is_on("machine_role") {
        // Off the cloud nobody answers there, and each request would wait for it.
        builder = builder.disable_ec2_metadata();
    }
    let operator = Operator::new(builder)
        .map_err(|error| StoreError::of_service("opening the store", &error))?;
    Ok(Opened {
        operator: transport::attach(operator, &[], settings.patience()?)?,
        local_root: None,
        base_url: settings.url("s3", bucket),
    })
}
