//! The `http` service: files behind a web server, read only.

use opendal::services::Http as Builder;

use super::SettingKind::{OfRow, Secret, Text};
use super::service::{SettingSpec, TIMEOUT};
use super::{Access, Opened, Service, Settings, StoreError, transport};

pub(super) const HTTP: Service = Service {
    name: "http",
    summary: "files behind a web server (http or https), read only",
    settings: &[
        SettingSpec::needed("endpoint", Text, "`https://host[:port][/folder]`."),
        SettingSpec::new(
            "root",
            OfRow,
            "The folder below the endpoint. May use the row's columns.",
        ),
        SettingSpec::new("username", Text, "For servers that ask who we are."),
        SettingSpec::new("password", Secret, "The password of `username`."),
        SettingSpec::new("token", Secret, "A bearer token."),
        SettingSpec::new(
            "redirect_hosts",
            Text,
            "Other hosts (`a.example, b.example:8080`) that the server may send us to; none if not given.",
        ),
        TIMEOUT,
    ],
    open,
};

fn open(settings: &Settings, access: Access) -> Result<Opened, StoreError> {
    if access == Access::Write {
        return Err(StoreError::config(
            "a store of type `http` can only be read; put files into one of type fs, s3, oss or alluxio",
        ));
    }
    let endpoint = settings.endpoint()?;
    let endpoint = endpoint
        .as_deref()
        .unwrap_or_default()
        .trim_end_matches('/');
    let mut builder = Builder::default().endpoint(endpoint);
    if let Some(root) = settings.get("root") {
        builder = builder.root(root);
    }
    if let Some(name) = settings.get("username") {
        builder = builder.username(name);
    }
    if let Some(password) = settings.secret("password")? {
        builder = builder.password(&password);
    }
    if let Some(token) = settings.secret("token")? {
        builder = builder.token(&token);
    }
    let hosts: Vec<String> = settings
        .get("redirect_hosts")
        .unwrap_or_default()
        .split(',')
        .map(|host| host.trim().to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let root = settings.get("root").unwrap_or_default().trim_matches('/');
    let base_url = match root {
        "" => endpoint.to_owned(),
        root => format!("{endpoint}/{root}"),
    };
    transport::open(builder, settings, base_url, &hosts)
}
