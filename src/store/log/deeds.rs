//! Deeds: what the writer does to requests, each within the transaction of its batch and behind a
//! savepoint of its own, so that one that fails spoils no other.

use std::fmt;
use std::panic::AssertUnwindSafe;

use crate::core::audit::Draft;
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Change, Ending, Request};
use crate::core::time::Timestamp;
use crate::store::error::{BeginError, StoreError};
use crate::store::log::writer::Writer;
use crate::store::log::{Dispatched, Sealed, Start};
use crate::store::notices::{Leased, Step, table as notices};
use crate::store::reports;
use crate::store::requests::row;
use crate::store::requests::{Damaged, RequestError};
use crate::store::sql;

/// How many expired requests are recorded along with another deed.
const SWEEP: u32 = 100;

/// Decides about a request inside the transaction.
type Decide = Box<dyn FnOnce(Request, Timestamp) -> Result<Change, Refusal> + Send>;

/// Something to do to a request.
pub(in crate::store) enum Deed {
    /// Take a change.
    Apply(Change),
    /// Write a new request, with its sealed values.
    File {
        change: Change,
        sealed: Option<Vec<u8>>,
    },
    /// Record what time has done to requests.
    Sweep,
    /// Read, decide, and take the change.
    Transact { id: RequestId, decide: Decide },
}

impl fmt::Debug for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply(_) => "Apply",
            Self::File { .. } => "File",
            Self::Sweep => "Sweep",
            Self::Transact { .. } => "Transact",
        })
    }
}

/// What became of a deed: the request after it. A sweep is about no request in particular.
pub(super) type Done = Result<Option<Request>, RequestError>;

impl Writer {
    /// Does a deed. An error of SQLite that leaves the transaction whole fails the deed alone.
    pub(super) fn perform(&self, end: &mut Sealed, deed: Deed) -> sql::Result<Done> {
        match deed {
            Deed::Apply(change) => self.guarded(end, |end| self.take(end, change)),
            Deed::File { change, sealed } => {
                self.sweep(end)?;
                self.guarded(end, |end| self.file(end, change, sealed.as_deref()))
            }
            Deed::Sweep => self.sweep(end).map(|()| Ok(None)),
            Deed::Transact { id, decide } => {
                // Outside of the second savepoint: what time has done stands, whatever is decided.
                match self.guarded(end, |end| self.caught_up(end, &id))? {
                    Ok(Some(request)) => {
                        self.guarded(end, |end| self.decided(end, request, decide))
                    }
                    other => Ok(other),
                }
            }
        }
    }

    /// Moves a dispatched request to running, as part of a `begin`. A request that has no record
    /// here was dispatched by somebody else's store.
    pub(super) fn follow(
        &self,
        start: &Start,
        dispatched: &Dispatched,
    ) -> sql::Result<Result<Option<Change>, BeginError>> {
        let request = match self.load(&start.request)? {
            None => return Ok(Ok(None)),
            Some(Ok(request)) => request,
            Some(Err(damaged)) => {
                let damaged = damaged.of_folder(self.place.database());
                return Ok(Err(BeginError::Store(damaged)));
            }
        };
        let intent = start.intent.clone();
        let change = request.start(
            &dispatched.token,
            dispatched.time_ms,
            self.clock.now(),
            intent,
        );
        Ok(change.map(Some).map_err(BeginError::from))
    }

    /// Writes the outcome of a run, and moves its request to its end if there is one that runs. The
    /// outcome is a fact: it is written whatever the record of the request says.
    pub(super) fn finish(
        &self,
        end: &mut Sealed,
        (id, ending): &(RequestId, Ending),
        outcome: &Draft,
    ) -> sql::Result<Sealed> {
        if let Some(Ok(request)) = self.load(id)? {
            let now = self.clock.now();
            match request.end(ending.clone(), now, outcome.clone()) {
                Ok(change) if row::update(&self.connection, &change, now)? => {
                    return self.record(end, &change);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(request = %id, %error, "a run ended out of turn"),
            }
        }
        reports::end(&self.connection, (id, ending))?;
        self.insert(end, outcome)
    }

    /// Appends the entries of a change, and queues what people are told of it; gives the place of
    /// the last entry.
    pub(super) fn record(&self, end: &mut Sealed, change: &Change) -> sql::Result<Sealed> {
        for event in change.events() {
            self.insert(end, event)?;
            notices::announce(&self.connection, event, change, self.clock.now())?;
        }
        self.connection.ring()?;
        Ok(*end)
    }

    fn load(&self, id: &RequestId) -> sql::Result<Option<Result<Request, Damaged>>> {
        row::load(&self.connection, (&self.workspace, &self.records), id)
    }

    fn file(&self, end: &mut Sealed, change: Change, sealed: Option<&[u8]>) -> sql::Result<Done> {
        if change.before() != 0 || change.request().asked().workspace != self.workspace {
            return Ok(Err(RequestError::Conflict));
        }
        if !row::insert(&self.connection, change.request(), sealed)? {
            return Ok(Err(RequestError::Exists));
        }
        self.record(end, &change)?;
        Ok(Ok(Some(change.into_request())))
    }

    fn take(&self, end: &mut Sealed, change: Change) -> sql::Result<Done> {
        if !row::update(&self.connection, &change, self.clock.now())? {
            let id = change.request().id();
            return Ok(match self.load(id)? {
                None => Err(RequestError::NotFound(id.clone())),
                Some(Ok(_)) => Err(RequestError::Conflict),
                Some(Err(damaged)) => Err(damaged.into()),
            });
        }
        self.record(end, &change)?;
        Ok(Ok(Some(change.into_request())))
    }

    /// The request as of now, with what time has done to it recorded.
    fn caught_up(&self, end: &mut Sealed, id: &RequestId) -> sql::Result<Done> {
        let request = match self.load(id)? {
            None => return Ok(Err(RequestError::NotFound(id.clone()))),
            Some(Err(damaged)) => return Ok(Err(damaged.into())),
            Some(Ok(request)) => request,
        };
        match request.catch_up(self.clock.now()) {
            Ok(change) => self.take(end, change),
            Err(unchanged) => Ok(Ok(Some(*unchanged))),
        }
    }

    fn decided(&self, end: &mut Sealed, request: Request, decide: Decide) -> sql::Result<Done> {
        let (id, now) = (request.id().clone(), self.clock.now());
        // The writer serves everybody; somebody's broken decision must not end it.
        let decided = std::panic::catch_unwind(AssertUnwindSafe(|| decide(request, now)));
        match decided {
            Ok(Ok(change)) if *change.request().id() == id => self.take(end, change),
            Ok(Ok(_)) => Ok(Err(RequestError::Conflict)),
            Ok(Err(refusal)) => Ok(Err(refusal.into())),
            Err(_) => Ok(Err(broken().into())),
        }
    }

    fn sweep(&self, end: &mut Sealed) -> sql::Result<()> {
        for id in row::overdue(&self.connection, self.clock.now(), SWEEP)? {
            let Ok(id) = id.parse::<RequestId>() else {
                continue;
            };
            if let Err(error) = self.guarded(end, |end| self.caught_up(end, &id))? {
                tracing::warn!(request = %id, %error, "an expired request could not be recorded");
            }
        }
        Ok(())
    }

    /// Does something to the messages that wait, behind a savepoint. What it says of them is in the log
    /// in the same transaction.
    pub(super) fn post(
        &self,
        end: &mut Sealed,
        step: &Step,
    ) -> sql::Result<Result<Option<Leased>, StoreError>> {
        let mut leased = None;
        let done = self.guarded(end, |end| {
            leased = notices::perform(&self.connection, step, self.clock.now())?;
            if let Some(draft) = step.draft() {
                self.insert(end, draft)?;
            }
            Ok(Ok(None))
        })?;
        Ok(match done {
            Ok(_) => Ok(leased),
            Err(RequestError::Store(error)) => Err(error),
            // Nothing here is about a request.
            Err(_) => Err(StoreError::Closed),
        })
    }

    /// Runs one deed behind a savepoint. Fails only when the whole transaction is lost.
    fn guarded(
        &self,
        end: &mut Sealed,
        deed: impl FnOnce(&mut Sealed) -> sql::Result<Done>,
    ) -> sql::Result<Done> {
        let run = |sql: &str| self.connection.run(sql);
        let before = *end;
        run("savepoint deed")?;
        let done = match deed(end) {
            Ok(Ok(done)) => {
                run("release deed")?;
                return Ok(Ok(done));
            }
            Ok(Err(refused)) => Err(refused),
            // A full disk, for one, ends the transaction and all that is in it.
            Err(error) if !self.connection.is_inside() => return Err(error),
            Err(error) => Err(StoreError::sql("write a request", &error).into()),
        };
        *end = before;
        run("rollback to deed")?;
        run("release deed")?;
        Ok(done)
    }
}

fn broken() -> Refusal {
    Refusal::new(
        Code::Internal,
        "the decision about a request broke; see the log on stderr",
    )
}
