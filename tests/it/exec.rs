//! The engines, driven the way the program drives them: parse, judge, decide, sign, verify, run.

mod mysql;
mod postgres;
mod sqlite;
