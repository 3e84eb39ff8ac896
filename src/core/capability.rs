//! Capabilities: named, reviewed operations with typed parameters and a typed answer.
//!
//! The agent owns them. Elsewhere only their public contract ([`Contract`]) and digests are known, never
//! their SQL. A [`Bundle`] is one file of them.

mod bundle;
mod contract;
mod duration;
mod face;
mod kind;
mod memory;
mod name;
mod parameter;
mod policy;
mod result;
mod rules;
mod schema;
mod vouched;

pub use bundle::{Bundle, Capability, Example, Reviewed, Service};
pub use contract::{Contract, Hints, Offer};
pub use duration::duration;
pub use face::masked;
pub use kind::{Kind, Scalar};
pub use memory::{Remembered, WhenChanged, news};
pub use name::{BUILT_IN_TOOLS, CapabilityName, MalformedName, TOOL_NAME, tool_name};
pub use parameter::{Claim, Parameter, Source, Unfit, unfit};
pub use policy::{Policy, Rate};
pub use result::{Broken, ResultColumn};
pub use rules::{Format, Pattern, Rules};
pub use schema::{input, output};
pub use vouched::{NotVouched, Said, Vouched, Voucher};
