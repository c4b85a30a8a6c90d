//! What builds start with, kept in a replica's memory.
//!
//! Buildsets (with the changes that led to them), settings of builders, names of builders and workers, hashes of
//! revisions never change once they are stored, so what is held here is never
//! stale in one database and needs no wake (whoever connects anew begins with
//! an empty one: it may be another database); it is bounded, and a buildset of many requests is read once.

use super::Taken;
use crate::{Error, Result};
use sqlx::PgConnection;
use sqlx::types::{Json, JsonRawValue};
use std::collections::HashMap;
use tidemill_model::wire::{CLAIM_CHANGES_MAX, Claim};
use tidemill_model::{NewChange, Properties, SourceStamp};

/// Most entries of each kind; then all of that kind are forgotten.
const MOST: usize = 4096;

/// Most bytes of JSON that the changes of the held buildsets come from; then all
/// buildsets are forgotten.
const CHANGES_MOST: usize = 64 << 20;

/// Most bytes of a claim's changes; of more, the newest.
const CHANGES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Payloads {
    buildsets: HashMap<i64, Buildset>,
    settings: HashMap<i64, Settings>,
    builders: HashMap<i64, String>,
    revisions: HashMap<i64, String>,
    workers: HashMap<i64, String>,
    /// Bytes of the changes of `buildsets`.
    changes: usize,
}

#[derive(Debug)]
struct Buildset {
    reason: String,
    properties: Properties,
    sourcestamps: Vec<SourceStamp>,
    changes: Vec<NewChange>,
    trusted: bool,
}

#[derive(Debug)]
struct Settings {
    properties: Properties,
    default_properties: Properties,
}

/// Where the payload of one build is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub buildset: i64,
    pub builder: i64,
    /// The builder that the build appears under.
    pub shown: i64,
    pub settings: i64,
    pub revision: i64,
    pub worker: i64,
}

impl Payloads {
    /// Reads what is not held yet, one statement for each kind that lacks something.
    pub(super) async fn load(&mut self, c: &mut PgConnection, keys: impl Iterator<Item = Key> + Clone) -> Result<()> {
        if self.changes > CHANGES_MOST {
            self.buildsets.clear();
        }
        let missing = lacking(&mut self.buildsets, keys.clone().map(|k| k.buildset));
        if !missing.is_empty() {
            let rows = sqlx::query!(
                r#"select id, reason, properties as "properties: Json<Box<JsonRawValue>>",
                          buildset_stamps(id) as "sourcestamps!: Json<Vec<SourceStamp>>",
                          buildset_blame(id, $2) as "changes: Json<Vec<Box<JsonRawValue>>>",
                          buildset_trusted(id) as "trusted!"
                     from buildsets where id = any($1)"#,
                &missing,
                CLAIM_CHANGES_MAX
            )
            .fetch_all(&mut *c)
            .await?;
            if self.buildsets.is_empty() {
                self.changes = 0;
            }
            for r in rows {
                let Some(properties) = readable("buildset", r.id, &r.properties) else { continue };
                let (changes, bytes) = blame(r.changes);
                self.changes += bytes;
                let sourcestamps = r.sourcestamps.0;
                self.buildsets
                    .insert(r.id, Buildset { reason: r.reason, properties, sourcestamps, changes, trusted: r.trusted });
            }
        }
        let missing = lacking(&mut self.settings, keys.clone().map(|k| k.settings));
        if !missing.is_empty() {
            let rows = sqlx::query!(
                r#"select id, properties as "properties: Json<Box<JsonRawValue>>",
                          default_properties as "default_properties: Json<Box<JsonRawValue>>"
                     from builder_settings where id = any($1)"#,
                &missing
            )
            .fetch_all(&mut *c)
            .await?;
            self.settings.extend(rows.into_iter().filter_map(|r| {
                let properties = readable("settings", r.id, &r.properties)?;
                let default_properties = readable("settings", r.id, &r.default_properties)?;
                Some((r.id, Settings { properties, default_properties }))
            }));
        }
        let missing = lacking(&mut self.builders, keys.clone().flat_map(|k| [k.builder, k.shown]));
        if !missing.is_empty() {
            let rows =
                sqlx::query!("select id, name from builders where id = any($1)", &missing).fetch_all(&mut *c).await?;
            self.builders.extend(rows.into_iter().map(|r| (r.id, r.name)));
        }
        let missing = lacking(&mut self.revisions, keys.clone().map(|k| k.revision));
        if !missing.is_empty() {
            let rows = sqlx::query!("select id, hash from config_revisions where id = any($1)", &missing)
                .fetch_all(&mut *c)
                .await?;
            self.revisions.extend(rows.into_iter().map(|r| (r.id, r.hash)));
        }
        let missing = lacking(&mut self.workers, keys.map(|k| k.worker));
        if !missing.is_empty() {
            let rows =
                sqlx::query!("select id, name from workers where id = any($1)", &missing).fetch_all(&mut *c).await?;
            self.workers.extend(rows.into_iter().map(|r| (r.id, r.name)));
        }
        Ok(())
    }

    /// The virtual builder that it appears under, if it is one.
    pub(super) fn shown(&self, key: Key) -> Option<String> {
        if key.shown == key.builder { None } else { self.builders.get(&key.shown).cloned() }
    }

    /// The whole of a new build; its payload has been loaded.
    pub(super) fn claim(&self, taken: &Taken, token: String) -> Result<Claim> {
        let key = taken.key;
        let gone = |what: &str, id: i64| {
            Error::NotFound(
                format!("{what} {id} of build {} is gone from the database, or cannot be read", taken.build).into(),
            )
        };
        let set = self.buildsets.get(&key.buildset).ok_or_else(|| gone("buildset", key.buildset))?;
        let settings = self.settings.get(&key.settings).ok_or_else(|| gone("settings", key.settings))?;
        let builder = self.builders.get(&key.builder).ok_or_else(|| gone("builder", key.builder))?;
        let revision = self.revisions.get(&key.revision).ok_or_else(|| gone("revision", key.revision))?;
        let worker = self.workers.get(&key.worker).ok_or_else(|| gone("worker", key.worker))?;

        // The order of build_started_with().
        let mut properties = settings.default_properties.clone();
        properties.update(&set.properties);
        properties.update(&settings.properties);
        properties.set("buildername", builder.as_str(), "Builder");
        properties.set("builderid", key.builder, "Builder");
        properties.set("workername", worker.as_str(), "Worker");
        properties.set("buildnumber", taken.number, "Build");
        Ok(Claim {
            build: taken.build,
            token,
            attempt: taken.attempt as u32,
            builder: builder.clone(),
            builder_id: key.builder,
            number: taken.number,
            request: taken.request,
            revision: revision.clone(),
            properties,
            sourcestamps: set.sourcestamps.clone(),
            reason: set.reason.clone(),
            changes: set.changes.clone(),
            trusted: set.trusted,
            url: String::new(),
        })
    }
}

/// Properties that a row holds. One that cannot be read (nested too deep, of an
/// older release) costs the builds that need it and no other.
pub(super) fn readable(what: &str, id: i64, raw: &JsonRawValue) -> Option<Properties> {
    match serde_json::from_str(raw.get()) {
        Ok(properties) => Some(properties),
        Err(error) => {
            tracing::error!(what, id, %error, "properties cannot be read; what needs them cannot be delivered");
            None
        }
    }
}

/// The changes of a buildset as far as they fit a claim, and their bytes.
pub(super) fn blame(found: Option<Json<Vec<Box<JsonRawValue>>>>) -> (Vec<NewChange>, usize) {
    let (mut changes, mut bytes) = (vec![], 0);
    for raw in found.map(|f| f.0).unwrap_or_default().iter().rev() {
        bytes += raw.get().len();
        if bytes > CHANGES_MAX && !changes.is_empty() {
            break;
        }
        match serde_json::from_str(raw.get()) {
            Ok(change) => changes.push(change),
            // A build is worth more than one entry of its blame list.
            Err(error) => tracing::error!(%error, "a change cannot be given to a worker"),
        }
    }
    changes.reverse();
    (changes, bytes)
}

/// The ids that are not held, each once; makes room where there is none.
fn lacking<V>(held: &mut HashMap<i64, V>, ids: impl Iterator<Item = i64> + Clone) -> Vec<i64> {
    let absent = |held: &HashMap<i64, V>| {
        let mut absent: Vec<i64> = ids.clone().filter(|id| !held.contains_key(id)).collect();
        absent.sort_unstable();
        absent.dedup();
        absent
    };
    let missing = absent(held);
    if held.len() + missing.len() <= MOST || missing.is_empty() {
        return missing;
    }
    held.clear();
    absent(held)
}
