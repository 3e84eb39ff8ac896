//! The relay's REST interface: everything below `/v1`, and the document that describes it.
//!
//! One table holds every operation with the types that it takes and gives: requests are read by it, and the
//! description is written from it, so that neither can say what the other does not. Each resource has a
//! file of its own that adds its operations to the table.

mod agents;
mod answer;
mod audit;
pub(super) mod body;
mod capabilities;
mod executed;
mod key;
mod keys;
mod me;
pub(super) mod openapi;
mod operation;
mod policy;
pub(super) mod problem;
mod requests;
mod results;
mod serve;
mod sql;
mod targets;
mod vectors;
mod verdicts;

pub(super) use operation::Operation;
pub(super) use serve::{router, wrong_method};

/// Every operation, in the order of the description.
pub(super) fn operations() -> Vec<Operation> {
    [
        me::operations(),
        sql::operations(),
        vectors::operations(),
        capabilities::operations(),
        results::operations(),
        targets::operations(),
        requests::operations(),
        verdicts::operations(),
        agents::operations(),
        keys::operations(),
        policy::operations(),
        audit::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
