//! What `/readyz` asks.

use crate::{Db, Error, Result};

/// Whether the database takes writes: not a standby, not read-only.
pub async fn writable(db: &Db) -> Result<()> {
    let read_only =
        sqlx::query_scalar!(r#"select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as "x!""#)
            .fetch_one(db.pool())
            .await?;
    if read_only {
        return Err(Error::Schema("the database takes no writes: it is a standby or read-only".into()));
    }
    Ok(())
}

/// How long the horizon has stood still, and because of whom.
pub struct Horizon {
    pub age_seconds: f64,
    /// The oldest writing transaction of the whole instance, for people.
    pub holder: String,
}

pub async fn horizon(db: &Db) -> Result<Horizon> {
    let row = sqlx::query!(
        r#"select coalesce(extract(epoch from clock_timestamp() - xact_start), 0)::float8 as "age!",
                  format('process %s of user %s in database %s (%s)', pid, usename, datname, application_name) as "holder!"
             from pg_stat_activity
            where backend_xid is not null
            order by age(backend_xid) desc limit 1"#
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map_or(Horizon { age_seconds: 0.0, holder: String::new() }, |r| Horizon {
        age_seconds: r.age,
        holder: r.holder,
    }))
}
