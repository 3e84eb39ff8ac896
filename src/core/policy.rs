//! Policy: who may do what, where, and who has to agree.
//!
//! One engine (Cedar, <https://docs.cedarpolicy.com>) is judged twice: by the broker on the
//! workspace's policy, by the agent on its own. Of all rules that match, the strictest wins; what
//! no rule matches, and what cannot be evaluated, is denied. A floor in code lies under the rules.
//! A decision is a value; only an allowing one turns into a [`Grant`].

pub mod ask;
pub mod cases;
pub mod decide;
pub mod facts;
mod guard;
pub mod judgement;
mod memory;
pub mod principals;
pub mod problem;
pub mod reach;
mod reader;
pub mod requirement;
pub mod set;
pub mod uncounted;
mod words;

pub use decide::{Approved, Decision, Grant, Needed, Question, decide};
pub use facts::{Facts, SCHEMA, Standing, is_production};
pub use judgement::{Denial, Judgement, Outcome, Settlement, strictest};
pub use principals::Principals;
pub use problem::{Problem, Problems};
pub use reach::{OutOfReach, best_surface};
pub use requirement::{ANYONE, Progress, Requirement, Step, StepProgress, Surfaces};
pub use set::{AGENT_DEFAULT, Explanation, PolicySet, STARTER};
pub use uncounted::Uncounted;
