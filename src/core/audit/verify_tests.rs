//! Chain tests.
