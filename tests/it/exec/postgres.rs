//! PostgreSQL, on a real throw-away server: `TEST_POSTGRES_URL` is a superuser's URL of it.

mod behaviour;
mod fixture;
mod values;
