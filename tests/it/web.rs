//! The web page, served by the built program.

mod browser;
pub(crate) mod desk;
mod guard;
mod lock;
mod pages;
mod reviewing;
mod rig;
mod story;
mod whole;
