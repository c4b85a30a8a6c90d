//! `POST /worker/v1/secret`: the value of a secret, for the worker that needs it
//! now. Given under a build's lease only, if the project's files of that build
//! name the secret and what is built may use secrets. Values are in no row, no
//! log and no event; this answer is the only place where they leave a master.

use super::Worker;
use super::patch::lease_lost;
use crate::app::App;
use crate::http::ApiError;
use crate::secret_providers::{Providers, named};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidemill_model::BuildId;
use tidemill_model::wire::{SecretReply, SecretRequest};
use tidemill_schema::secrets::secret_asker;

pub async fn secret(
    State(app): State<App>,
    worker: Worker,
    Json(wanted): Json<SecretRequest>,
) -> Result<Response, ApiError> {
    let mut c = app.db.pool().acquire().await?;
    let asker = secret_asker(&mut c, BuildId(wanted.build), &wanted.token).await?;
    let asker = asker.ok_or_else(|| lease_lost(wanted.build))?;
    drop(c);
    let name = &wanted.name;
    if !asker.trusted {
        return Err(ApiError::forbidden(format!("build {} is of a change that gets no secrets", wanted.build)));
    }
    if !named(&asker.files, name) {
        return Err(ApiError::forbidden(format!(
            "no file of the project names the secret {name:?}: write its whole name there"
        )));
    }
    let providers = Providers::of(&asker.providers);
    let (app_, name_) = (app.clone(), name.clone());
    let found =
        tokio::task::spawn_blocking(move || providers.value(&app_.secrets, app_.settings.poll_local_addresses, &name_))
            .await;
    match found.map_err(ApiError::internal)? {
        Ok(value) => {
            tracing::info!(build = wanted.build, worker.name = %worker.name, secret.name = %name, "secret given");
            Ok(([(header::CACHE_CONTROL, "no-store")], Json(SecretReply { value })).into_response())
        }
        Err(error) => {
            tracing::warn!(build = wanted.build, secret.name = %name, %error, "secret not given");
            Err(ApiError::not_found(error.to_string()))
        }
    }
}
