//! From the settings to the engine's client: addresses, credentials and certificates.

use async_nats::ConnectOptions;
use redis::{Client, IntoConnectionInfo, RedisError, TlsCertificates};
use std::io;
use thiserror::Error;

use crate::settings::{self, Nats, Redis, Settings, SettingsError};
use crate::sink;
use crate::sink::files::{Files, Layout};
use crate::sink::jetstream::{JetStream, Target};

/// Why there is no client.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("no credentials in that file: {0}")]
    Credentials(#[from] io::Error),
    #[error(transparent)]
    Nats(#[from] sink::jetstream::ConnectError),
    #[error("cannot make a Redis client: {0}")]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Files(#[from] sink::files::OpenError),
    #[error("the files could not be opened: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

pub(crate) async fn jetstream(settings: &Settings) -> Result<JetStream, ConnectError> {
    let nats = &settings.nats;
    let target = Target {
        url: nats.nats_url.clone(),
        stream: nats.stream.clone(),
        prefix: settings.prefix.clone(),
        create: settings.create_stream,
        allow_replicas: settings.allow_replicas,
        ack_timeout: settings.bounds.ack_timeout,
        in_flight: settings.bounds.max_in_flight_messages,
    };
    Ok(JetStream::connect(options(nats)?, target).await?)
}

pub(crate) fn options(nats: &Nats) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new();
    if let Some(file) = &nats.nats_credentials {
        options = options.credentials(&settings::read(file)?)?;
    }
    if let Some(file) = &nats.nats_nkey {
        options = options.nkey(settings::read(file)?);
    }
    if let Some(file) = &nats.nats_token {
        options = options.token(settings::read(file)?);
    }
    if let (Some(user), Some(file)) = (&nats.nats_user, &nats.nats_password) {
        options = options.user_and_password(user.clone(), settings::read(file)?);
    }
    if let Some(file) = &nats.nats_ca {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&nats.nats_certificate, &nats.nats_key) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options.require_tls(nats.nats_tls))
}

pub(crate) fn redis(settings: &Settings) -> Result<sink::redis::Redis, ConnectError> {
    let client = client(&settings.redis)?;
    let max_len = settings.redis.redis_max_len;
    let timeout = settings.bounds.ack_timeout;
    Ok(sink::redis::Redis::connect(
        &client,
        settings.prefix.clone(),
        max_len,
        timeout,
    )?)
}

fn client(redis: &Redis) -> Result<Client, ConnectError> {
    let info = redis.redis_url.as_str().into_connection_info()?;
    let mut login = info.redis_settings().clone();
    if let Some(user) = &redis.redis_user {
        login = login.set_username(user);
    }
    if let Some(file) = &redis.redis_password {
        login = login.set_password(settings::read(file)?);
    }
    let info = info.set_redis_settings(login);
    let Some(file) = &redis.redis_ca else {
        return Ok(Client::open(info)?);
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(settings::read(file)?.into_bytes()),
    };
    Ok(Client::build_with_tls(info, certificates)?)
}

pub(crate) async fn files(settings: &Settings) -> Result<Files, ConnectError> {
    let files = &settings.files;
    let layout = Layout {
        folder: files.files_folder.clone(),
        max_bytes: u64::try_from(files.files_max_bytes).unwrap_or(u64::MAX),
        keep: files.files_keep,
        is_compressed: !files.files_plain,
    };
    // It reads the last file again. The page answers meanwhile.
    Ok(tokio::task::spawn_blocking(|| Files::open(layout)).await??)
}
