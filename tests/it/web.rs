//! The web page, served by the built program.

mod browser;
mod guard;
mod lock;
mod pages;
mod rig;
mod story;
