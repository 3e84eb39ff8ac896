//! SQLite. After each refusal the database is read again on a connection of the test's own.

mod cases;
mod catalogue;
mod corpus;
mod limits;
mod rig;
mod values;
