//! The `oss` service: Alibaba Cloud's object storage.

use opendal::services::Oss as Builder;

use super::SettingKind::{Secret, Text};
use super::service::{ANONYMOUS, BUCKET, ROOT, SettingSpec, TIMEOUT};
use super::{Access, Opened, Service, Settings, StoreError, transport};

pub(super) const OSS: Service = Service {
    name: "oss",
    summary: "a bucket of Alibaba Cloud OSS",
    settings: &[
        BUCKET,
        ROOT,
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
        ANONYMOUS,
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
    if let Some((id, key)) = settings.key_pair("access_key_id", "access_key_secret")? {
        builder = builder.access_key_id(&id).access_key_secret(&key);
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
    let url = settings.url("oss", bucket);
    transport::open(builder, settings, url, &[])
}
