//! The `s3` service: AWS S3 and everything that speaks its language (MinIO, Ceph, R2 …).

use opendal::services::S3 as Builder;

use super::SettingKind::{Secret, Switch, Text};
use super::service::{ANONYMOUS, BUCKET, ROOT, SettingSpec, TIMEOUT};
use super::{Access, Opened, Service, Settings, StoreError, transport};

pub(super) const S3: Service = Service {
    name: "s3",
    summary: "a bucket of AWS S3 or of any store that speaks its language",
    settings: &[
        BUCKET,
        ROOT,
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
        ANONYMOUS,
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
    if let Some((id, key)) = settings.key_pair("access_key_id", "secret_access_key")? {
        builder = builder.access_key_id(&id).secret_access_key(&key);
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
    let url = settings.url("s3", bucket);
    transport::open(builder, settings, url, &[])
}
