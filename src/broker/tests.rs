//! What the tests of the broker share.

pub(super) mod rig;
