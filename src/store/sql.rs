//! The store's SQL, and the two engines that it is said to: SQLite in a file, and PostgreSQL where several relays
//! share one store.
//!
//! A statement is written once, in what both understand, with `?1` or `$1` for its values. Values are those of
//! `rusqlite`; columns are integers of 64 bits, texts and bytes. Everything here blocks.

mod error;
mod params;
mod server;
mod session;

use std::cell::Cell;
use std::ops::Deref;
use std::vec::IntoIter;

use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{RowIndex, ToSql, params_from_iter};

pub(super) use error::{Error, Kind, Optional};
pub(super) use params::{Params, params};
pub(super) use server::{Ear, Server};

use session::{Loan, Value};

/// What comes of a statement.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// A connection to either engine.
#[derive(Debug)]
pub(super) struct Connection {
    engine: Engine,
    /// Whether a transaction is open, by what was said here; SQLite knows better.
    inside: Cell<bool>,
}

#[derive(Debug)]
enum Engine {
    File(Box<rusqlite::Connection>),
    Server(Loan),
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "values are written down where they are used, as with the drivers"
)]
impl Connection {
    /// One to a file that was opened.
    pub(super) fn of_file(connection: rusqlite::Connection) -> Self {
        Self {
            engine: Engine::File(Box::new(connection)),
            inside: Cell::new(false),
        }
    }

    /// One to a server.
    fn of_server(loan: Loan) -> Self {
        Self {
            engine: Engine::Server(loan),
            inside: Cell::new(false),
        }
    }

    /// The file's, for what only a file knows; nothing of a server.
    pub(super) fn file(&self) -> Option<&rusqlite::Connection> {
        match &self.engine {
            Engine::File(connection) => Some(connection),
            Engine::Server(_) => None,
        }
    }

    /// Begins a transaction, with nobody else writing until its end: not to the file, and at a server not to the
    /// log, whose only pen this takes.
    pub(super) fn begin(&self) -> Result<()> {
        match &self.engine {
            Engine::File(_) => self.run("begin immediate"),
            Engine::Server(loan) => {
                loan.renew()?;
                self.inside.set(true);
                // In one go: each word to a server costs a way there and back.
                let begun = loan.batch(BEGIN);
                if begun.is_err() {
                    // Were this to fail as well, the session is not used again.
                    drop(self.run("rollback"));
                    self.inside.set(false);
                }
                begun
            }
        }
    }

    /// A transaction as of [`Self::begin`], which is undone where it is dropped without a commit.
    pub(super) fn transaction(&self) -> Result<Transaction<'_>> {
        self.begin()?;
        Ok(Transaction(self))
    }

    /// Commits. After an error it is over as well, and nothing of it stands, as far as anybody knows.
    pub(super) fn commit(&self) -> Result<()> {
        let committed = self.run("commit");
        if committed.is_ok() {
            self.inside.set(false);
        }
        committed
    }

    /// Undoes what was done since [`Self::begin`].
    pub(super) fn roll_back(&self) -> Result<()> {
        self.inside.set(false);
        self.run("rollback")
    }

    /// Whether a transaction is open that can still be committed or undone.
    pub(super) fn is_inside(&self) -> bool {
        match &self.engine {
            Engine::File(connection) => !connection.is_autocommit(),
            Engine::Server(loan) => {
                // One that was lost took its transaction along.
                self.inside.set(self.inside.get() && loan.is_open());
                self.inside.get()
            }
        }
    }

    /// The server's session, a new one where it was lost: but not in the middle of a transaction, which went with it.
    fn session<'l>(&self, loan: &'l Loan) -> Result<&'l Loan> {
        if !self.inside.get() {
            loan.renew()?;
        }
        Ok(loan)
    }

    /// Says something that has no values and no answer.
    pub(super) fn run(&self, sql: &str) -> Result<()> {
        self.execute(sql, ()).map(drop)
    }

    /// Says several statements at once.
    pub(super) fn execute_batch(&self, sql: &str) -> Result<()> {
        match &self.engine {
            Engine::File(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Server(loan) => self.session(loan)?.batch(sql),
        }
    }

    /// Says a statement that changes rows; how many.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        let values = params.values();
        match &self.engine {
            Engine::File(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                Ok(statement.execute(params_from_iter(values))?)
            }
            Engine::Server(loan) => self.session(loan)?.execute(sql, owned(&values)?),
        }
    }

    /// The first row, read; [`Kind::NoRow`] where there is none.
    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        let values = params.values();
        match &self.engine {
            Engine::File(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(values))?;
                let row = rows.next()?.ok_or_else(Error::no_row)?;
                read(&Row::File(row))
            }
            Engine::Server(loan) => {
                let rows = self.session(loan)?.query(sql, owned(&values)?)?;
                read(&Row::Server(rows.first().ok_or_else(Error::no_row)?))
            }
        }
    }

    /// Every row, read.
    pub(super) fn query_map<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<IntoIter<Result<T>>> {
        let values = params.values();
        let mut all = Vec::new();
        match &self.engine {
            Engine::File(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(values))?;
                while let Some(row) = rows.next()? {
                    all.push(read(&Row::File(row)));
                }
            }
            Engine::Server(loan) => {
                let rows = self.session(loan)?.query(sql, owned(&values)?)?;
                all.extend(rows.iter().map(|row| read(&Row::Server(row))));
            }
        }
        Ok(all.into_iter())
    }

    /// Whether there is a row.
    pub(super) fn exists(&self, sql: &str, params: impl Params) -> Result<bool> {
        let found = self.query_row(sql, params, |_| Ok(())).optional()?;
        Ok(found.is_some())
    }

    /// Whether there is a table with this column.
    pub(super) fn has_column(&self, table: &str, column: &str) -> Result<bool> {
        let sql = match &self.engine {
            Engine::File(_) => "select 1 from pragma_table_info(?1) where name = ?2",
            Engine::Server(_) => HAS_COLUMN,
        };
        self.exists(sql, [table, column])
    }

    /// Says so to everybody who listens, once the transaction is committed. At a file they look by themselves.
    pub(super) fn ring(&self) -> Result<()> {
        match &self.engine {
            Engine::File(_) => Ok(()),
            Engine::Server(_) => self.run("select pg_notify(current_schema(), '')"),
        }
    }
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Transaction<'c>(&'c Connection);

impl Transaction<'_> {
    /// Has it stand.
    pub(super) fn commit(self) -> Result<()> {
        self.0.commit()
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.0.is_inside() {
            // Were this to fail, the engine undoes it with the connection.
            drop(self.0.roll_back());
        }
    }
}

/// One row of an answer.
#[derive(Debug)]
pub(super) enum Row<'r> {
    /// Of a file.
    File(&'r rusqlite::Row<'r>),
    /// Of a server.
    Server(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// What is in a column, by its place or name.
    pub(super) fn get<I: Column, T: FromSql>(&self, column: I) -> Result<T> {
        match self {
            Self::File(row) => Ok(row.get(column)?),
            Self::Server(row) => {
                let value = session::value(row, column.place_in(row)?)?;
                T::column_result(value).map_err(|error| Error::damaged(&error.to_string()))
            }
        }
    }

    /// The same as it is, whatever it is.
    pub(super) fn get_ref(&self, column: usize) -> Result<ValueRef<'_>> {
        match self {
            Self::File(row) => Ok(row.get_ref(column)?),
            Self::Server(row) => session::value(row, column),
        }
    }
}

/// How a column is named.
pub(super) trait Column: RowIndex {
    /// Its place.
    fn place_in(&self, row: &tokio_postgres::Row) -> Result<usize>;
}

impl Column for usize {
    fn place_in(&self, _: &tokio_postgres::Row) -> Result<usize> {
        Ok(*self)
    }
}

impl Column for &str {
    fn place_in(&self, row: &tokio_postgres::Row) -> Result<usize> {
        let mut columns = row.columns().iter();
        let place = columns.position(|column| column.name() == *self);
        place.ok_or_else(|| Error::damaged("a column is missing"))
    }
}

fn owned(values: &[&dyn ToSql]) -> Result<Vec<Value>> {
    values.iter().map(|value| Value::of(*value)).collect()
}

const HAS_COLUMN: &str = "
    select 1 from pg_attribute
    where attrelid = to_regclass(?1) and attname = ?2 and not attisdropped";
/// Begins, and takes the row that whoever appends to the log holds.
const BEGIN: &str = "begin; select one from pen for update";
