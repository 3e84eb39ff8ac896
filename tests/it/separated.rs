//! *Separated*: an agent that runs as another OS user than its clients, and what they can do to it.
//!
//! These need to be root, to start processes of several users. Where they are not, they are skipped, and
//! nothing then shows that the levels of `docs/security.md` differ.

mod attacks;
mod capabilities;
mod glass;
mod guarded;
mod install;
mod limits;
mod rig;
mod story;
