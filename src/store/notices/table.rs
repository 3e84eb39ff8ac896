//! The rows of the queue. Everything here runs within the writer's transaction.

use crate::store::sql::{self, Connection, Optional as _, Row, params};

use crate::core::audit::Draft;
use crate::core::ids::RequestId;
use crate::core::notice::Event;
use crate::core::request::Change;
use crate::core::time::Timestamp;
use crate::store::notices::{LEASE_MS, Leased, SPOKEN_FOR_MS, Settled, Step};

/// Queues the message about an entry of a change, for everybody who wants to be told of it.
pub(in crate::store) fn announce(
    connection: &Connection,
    entry: &Draft,
    change: &Change,
    now: Timestamp,
) -> sql::Result<()> {
    let Some(event) = Event::of(entry.kind) else {
        return Ok(());
    };
    let request = change.request();
    let until = request.state().due().filter(|_| event == Event::Pending);
    connection.execute(
        ANNOUNCE,
        params![
            event.message_id(request.id()),
            event.as_str(),
            request.id().as_str(),
            entry.at.unix_ms(),
            until.map(Timestamp::unix_ms),
            now.unix_ms(),
            now.plus_ms(-SPOKEN_FOR_MS).unix_ms(),
        ],
    )?;
    Ok(())
}

/// Whether a message for this destination is due and not being sent.
pub(in crate::store) fn waiting(
    connection: &Connection,
    destination: &str,
    now: Timestamp,
) -> sql::Result<bool> {
    connection.exists(DUE, (destination, now.unix_ms()))
}

/// Does one step.
pub(in crate::store) fn perform(
    connection: &Connection,
    step: &Step,
    now: Timestamp,
) -> sql::Result<Option<Leased>> {
    match step {
        Step::Lease { destination, lease } => return take(connection, (destination, lease), now),
        Step::Settle {
            leased, settled, ..
        } => settle(connection, leased, *settled)?,
        Step::SpeakFor {
            destination,
            events,
        } => speak_for(connection, (destination, events), now)?,
    }
    Ok(None)
}

fn take(
    connection: &Connection,
    (destination, lease): (&str, &str),
    now: Timestamp,
) -> sql::Result<Option<Leased>> {
    let id: Option<String> = connection
        .query_row(DUE, (destination, now.unix_ms()), |row| row.get("id"))
        .optional()?;
    let Some(id) = id else {
        return Ok(None);
    };
    let until = now.plus_ms(LEASE_MS).unix_ms();
    let leased = connection.query_row(LEASE, (lease, until, &id, destination), |row| {
        Ok(leased(row))
    })?;
    if leased.is_none() {
        // Somebody else has written it. It would be in the way of all others for ever.
        connection.execute(DELETE, (&id, destination))?;
    }
    Ok(leased)
}

/// Nothing where this program did not write the row.
fn leased(row: &Row<'_>) -> Option<Leased> {
    let read = || -> sql::Result<Option<Leased>> {
        let event: String = row.get("event")?;
        let request: String = row.get("request")?;
        let (Some(event), Ok(request)) = (Event::named(&event), request.parse::<RequestId>())
        else {
            return Ok(None);
        };
        let until: Option<i64> = row.get("until")?;
        Ok(Some(Leased {
            id: row.get("id")?,
            destination: row.get("destination")?,
            event,
            request,
            at: Timestamp::from_unix_ms(row.get("at")?),
            until: until.map(Timestamp::from_unix_ms),
            attempt: row.get("attempts")?,
            lease: row.get("lease")?,
        }))
    };
    read().ok().flatten()
}

fn settle(connection: &Connection, leased: &Leased, settled: Settled) -> sql::Result<()> {
    let (id, destination) = (&leased.id, &leased.destination);
    match settled {
        Settled::Over => {
            connection.execute(DELETE, (id, destination))?;
        }
        Settled::Again(due) => {
            connection.execute(AGAIN, (due.unix_ms(), id, destination, &leased.lease))?;
        }
        Settled::Stop => {
            for forget in [FORGET_MESSAGES, FORGET_DESTINATION] {
                connection.execute(forget, (destination,))?;
            }
        }
    }
    Ok(())
}

fn speak_for(
    connection: &Connection,
    (destination, events): (&str, &[Event]),
    now: Timestamp,
) -> sql::Result<()> {
    connection.execute(FORGET_DESTINATION, (destination,))?;
    for event in events {
        connection.execute(SPEAK_FOR, (destination, event.as_str(), now.unix_ms()))?;
    }
    let stale = now.plus_ms(-SPOKEN_FOR_MS).unix_ms();
    connection.execute(FORGET_STALE, (stale,))?;
    connection.execute(FORGET_ORPHANS, ())?;
    Ok(())
}

const ANNOUNCE: &str = "
    insert into notices (id, destination, event, request, at, until, attempts, due_at)
    select ?1, d.id, ?2, ?3, ?4, ?5, 0, ?6
    from notice_destinations d where d.event = ?2 and d.seen_at > ?7
    on conflict (id, destination) do nothing";
const DUE: &str = "
    select id from notices
    where destination = ?1 and due_at <= ?2 and coalesce(leased_until, 0) <= ?2
    order by due_at, id limit 1";
const LEASE: &str = "
    update notices set lease = ?1, leased_until = ?2, attempts = attempts + 1
    where id = ?3 and destination = ?4
    returning *";
const AGAIN: &str = "
    update notices set due_at = ?1, lease = null, leased_until = null
    where id = ?2 and destination = ?3 and lease = ?4";
const DELETE: &str = "delete from notices where id = ?1 and destination = ?2";
const FORGET_MESSAGES: &str = "delete from notices where destination = ?1";
const FORGET_DESTINATION: &str = "delete from notice_destinations where id = ?1";
const SPEAK_FOR: &str = "
    insert into notice_destinations (id, event, seen_at) values (?1, ?2, ?3)
    on conflict (id, event) do update set seen_at = excluded.seen_at";
const FORGET_STALE: &str = "delete from notice_destinations where seen_at <= ?1";
const FORGET_ORPHANS: &str = "
    delete from notices
    where destination not in (select id from notice_destinations)";
