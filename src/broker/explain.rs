//! What the policies say of a request as they are now, as of when it was filed.

use crate::broker::Broker;
use crate::broker::requests::Shown;
use crate::core::policy::set::Explanation;
use crate::core::refusal::{Code, Refusal};
use crate::policies::Policies;

/// What one policy says.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its file, or that it is built in.
    pub policy: String,
    /// What it says.
    pub explanation: Explanation,
}

/// What the workspace's policy says of a request, and what the agent's does.
pub async fn explain(broker: &Broker, shown: &Shown) -> Result<[Said; 2], Refusal> {
    let document = &shown.document;
    let target = broker.target(Some(&document.target))?;
    let parsed = broker.parser.parse(target.engine, &document.statement);
    let statement = document.as_found(&*parsed.await?);
    let found = statement.findings.iter().copied();
    let findings = broker.review.apply(&target.environment, found);
    let standing = broker.principals.of(&document.requester);
    let facts = document.facts(
        (&target, &standing),
        (&statement, &findings),
        shown.request.created(),
    );
    let said = |whose: &str, policies: &Policies| Said {
        policy: policies.file().map_or_else(
            || format!("{whose} policy (built in)"),
            |file| file.display().to_string(),
        ),
        explanation: policies.current().explain(&facts),
    };
    let own = broker.link.policies().ok_or_else(|| {
        let sentence = "the agent's own policy is not known here";
        Refusal::new(Code::PolicyUnavailable, sentence).hint("ask beside the agent")
    })?;
    Ok([said("workspace", &broker.policies), said("agent", own)])
}
