//! The `oss` service: Alibaba Cloud's object storage.

use opendal::Operator;
use opendal::services::Oss as Builder;

use super::SettingKind::{OfRow, Secret, Switch, Text};
use super::service::{SettingSpec, TIMEOUT};
use super::{Access, Opened, Service, Settings, StoreError, transport};

pub(super) const OSS: Service = Service {
    name: "oss",
    summary: "a bucket of Alibaba Cloud OSS",
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
        SettingSpec::needed(
            "endpoint",
            Text,
            "`https://oss-cn-shanghai-internal.aliyuncs.com`.",
        ),
        SettingSpec::new(
            "access_key_id",
            Secret,
            "The key's name; `ALIBABA_CLOUD_ACCESS_KEY_ID` … and the machine's role are asked if not given.",
        ),
        SettingSpec::new("access_key_secret", Secret, "The key."),
        SettingSpec::new(
            "security_token",
            Secret,
            "The token of a temporary key (STS).",
        ),
        SettingSpec::new(
            "addressing",
            Text,
            "`virtual` (`bucket.host/key`; the default), `path` (`host/bucket/key`) or `cname`.",
        ),
        SettingSpec::new(
            "anonymous",
            Switch,
            "`true` for a public bucket: requests are not signed.",
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
    match (
        settings.secret("access_key_id")?,
        settings.secret("access_key_secret")?,
    ) {
        (Some(id), Some(key)) => {
            builder = builder.access_key_id(&id).access_key_secret(&key);
        }
        (None, None) => {}
        _ => {
            return Err(StoreError::config(
                "`access_key_id` and `access_key_secret` belong together; one of them is missing",
            ));
        }
    }
    if let Some(token) = settings.secret("security_token")? {
        builder = builder.security_token(&token);
    }
    if settings.get("addressing") == Some("cname") {
        builder = builder.addressing_style("cname");
    } else if !settings.is_virtual_hosted(true)? {
        builder = builder.addressing_style("path");
    }
    if settings.is_on("anonymous") {
        builder = builder.skip_signature();
    }
    let operator = Operator::new(builder)
        .map_err(|error| StoreError::of_service("opening the store", &error))?;
    Ok(Opened {
        operator: transport::attach(operator, &[], settings.patience()?)?,
        local_root: None,
        base_url: settings.url("oss", bucket),
    })
}
