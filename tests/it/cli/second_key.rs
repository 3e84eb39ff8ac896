//! The second key on the command line: a trust file made with real `ssh-keygen`, a request that
//! waits, a person who signs, and everything that does not count.

mod breaking;
mod deciding;
mod policy;
mod rig;
mod trusting;
