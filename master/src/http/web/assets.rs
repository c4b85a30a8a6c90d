//! Style, scripts and icon, inside the binary. Their path carries the hash of
//! all of them, so that they may be kept for ever and never mix with those of
//! another release; a script finds its neighbours beside it.

use crate::http::ApiError;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::OnceLock;
use tidemill_sql::format::svg;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// The rules of charts, which a picture of its own carries with it.
const CHART: &str = "chart.css";

struct Asset {
    data: Cow<'static, [u8]>,
    hash: [u8; 32],
    kind: String,
}

impl Asset {
    fn get(name: &str) -> Option<Asset> {
        if name == CHART {
            let data = svg::STYLE.as_bytes();
            return Some(Asset { data: data.into(), hash: Sha256::digest(data).into(), kind: "text/css".into() });
        }
        let file = Assets::get(name)?;
        Some(Asset { hash: file.metadata.sha256_hash(), kind: file.metadata.mimetype().into(), data: file.data })
    }
}

fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut sha = Sha256::new();
        let mut names: Vec<_> = Assets::iter().chain([CHART.into()]).collect();
        names.sort();
        for name in names {
            sha.update(name.as_bytes());
            sha.update(Asset::get(&name).map(|a| a.hash).unwrap_or_default());
        }
        hex::encode(&sha.finalize()[..6])
    })
}

/// `/assets/<hash>`
pub fn base() -> &'static str {
    static BASE: OnceLock<String> = OnceLock::new();
    BASE.get_or_init(|| format!("/assets/{}", hash()))
}

pub async fn asset(Path((wanted, name)): Path<(String, String)>, headers: HeaderMap) -> Result<Response, ApiError> {
    let file = Asset::get(&name).ok_or_else(|| ApiError::not_found("there is no such asset"))?;
    // A page of another release asks for its own: it gets ours, but not for ever.
    let cache = if wanted == hash() { "public, max-age=31536000, immutable" } else { "no-cache" };
    Ok(send(&file, &headers, cache))
}

pub async fn icon(headers: HeaderMap) -> Result<Response, ApiError> {
    let file = Asset::get("icon.svg").ok_or_else(|| ApiError::not_found("there is no icon"))?;
    Ok(send(&file, &headers, "public, max-age=86400"))
}

fn send(file: &Asset, headers: &HeaderMap, cache: &'static str) -> Response {
    let tag = format!("\"{}\"", hex::encode(file.hash));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|t| t.to_str().ok()).is_some_and(|t| t.contains(&tag));
    let kept = [
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::ETAG, HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let kind = HeaderValue::try_from(&file.kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    (kept, [(header::CONTENT_TYPE, kind)], file.data.to_vec()).into_response()
}
