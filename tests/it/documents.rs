//! What people are told to type or to install, run or checked as it is written.

pub(crate) mod blocks;
mod examples;
mod walk;
