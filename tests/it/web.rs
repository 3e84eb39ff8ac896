//! The web page, served by the built program.

pub(crate) mod browser;
pub(crate) mod desk;
mod guard;
mod lock;
mod pages;
mod reviewing;
pub(crate) mod rig;
mod story;
mod whole;
