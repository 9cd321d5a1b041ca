//! The `alluxio` service: an Alluxio proxy, through its S3 endpoint.
//!
//! Not through its REST API, which opendal has a service for: that one refuses ranged reads and leaves an open stream on
//! the proxy for every file read. Alluxio's own manual sends data through the S3 endpoint and administration through REST.

use opendal::services::S3 as Builder;

use super::SettingKind::{OfRow, Secret, Text};
use super::service::{SettingSpec, TIMEOUT};
use super::{Access, Opened, Service, Settings, StoreError, transport};

/// Where the proxy of Alluxio 2 has its S3 endpoint.
const S3_PATH: &str = "/api/v1/s3";

pub(super) const ALLUXIO: Service = Service {
    name: "alluxio",
    summary: "a folder of an Alluxio cluster, through the S3 endpoint of its proxy",
    settings: &[
        SettingSpec::needed(
            "endpoint",
            Text,
            "`http://proxy:39999`; a path, where the S3 endpoint lies elsewhere than `/api/v1/s3`, is kept.",
        ),
        SettingSpec::needed(
            "bucket",
            OfRow,
            "The top folder in Alluxio (`a:b` for a folder in it); may use the row's columns: `{oss_bucket}`.",
        ),
        SettingSpec::new(
            "root",
            OfRow,
            "The folder in it; all of it if not given. May use the row's columns.",
        ),
        SettingSpec::new(
            "user",
            Text,
            "As whom Alluxio sees us; `clipsieve` if not given.",
        ),
        SettingSpec::new(
            "secret",
            Secret,
            "The key, where the proxy checks it; Alluxio does not by default.",
        ),
        TIMEOUT,
    ],
    open,
};

fn open(settings: &Settings, _access: Access) -> Result<Opened, StoreError> {
    let bucket = settings.required("bucket")?;
    let endpoint = settings.required("endpoint")?;
    let mut endpoint = settings.endpoint()?.unwrap_or_else(|| endpoint.to_owned());
    let after_scheme = endpoint.split_once("://").map_or("", |(_, rest)| rest);
    if !after_scheme.contains('/') {
        endpoint.push_str(S3_PATH);
    }
    let user = settings.get("user").unwrap_or("clipsieve");
    let key = settings.secret("secret")?;
    let mut builder = Builder::default()
        .endpoint(&endpoint)
        .bucket(bucket)
        .region("us-east-1")
        .access_key_id(user)
        .secret_access_key(key.as_deref().unwrap_or("unchecked"))
        .disable_config_load()
        .disable_ec2_metadata();
    if let Some(root) = settings.get("root") {
        builder = builder.root(root);
    }
    let url = settings.url("alluxio", bucket);
    transport::open(builder, settings, url, &[])
}
