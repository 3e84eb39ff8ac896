//! What people are told to type or to install, run or checked as it is written.

mod blocks;
mod examples;
mod walk;
