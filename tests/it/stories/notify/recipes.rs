//! The recipes of `docs/notifications.md`, followed to the letter as far as a test can.
