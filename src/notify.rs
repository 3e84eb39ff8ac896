//! TELLS: sends people the messages that wait in the state folder, from whichever process runs.
//!
//! Nothing waits for this: a request is filed, decided and run whether or not anybody can be told.
//! `core::notice` says what a message holds and where it may go, `store::notices` keeps the queue.

mod connect;
mod courier;
pub mod desktop;
pub mod webhook;

pub use courier::{Courier, try_out};
pub use desktop::Desktop;
pub use webhook::{Sent, Webhook};
