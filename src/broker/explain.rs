//! What the policies say of a request as they are now, as of when it was filed.

use crate::broker::Broker;
use crate::broker::requests::Shown;
use crate::core::capability::masked;
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
    let own = broker.link.policies().ok_or_else(|| {
        let sentence = "the agent's own policy is not known here";
        Refusal::new(Code::PolicyUnavailable, sentence).hint("ask beside the agent")
    })?;
    Ok([
        workspace(broker, shown).await?,
        said(broker, shown, ("agent", own)).await?,
    ])
}

/// What the workspace's policy alone says of a request.
pub async fn workspace(broker: &Broker, shown: &Shown) -> Result<Said, Refusal> {
    said(broker, shown, ("workspace", &broker.policies)).await
}

async fn said(
    broker: &Broker,
    shown: &Shown,
    (whose, policies): (&str, &Policies),
) -> Result<Said, Refusal> {
    let document = &shown.document;
    let target = broker.target(Some(&document.target))?;
    let statement = if document.capability.is_some() {
        masked(target.engine, &document.statement, document.effect)
    } else {
        let parsed = broker.parser.parse_document(target.engine, document);
        document.as_found(&*parsed.await?)
    };
    let found = statement.findings.iter().copied();
    let findings = broker.review.apply(&target.environment, found);
    let standing = broker.principals.of(&document.requester);
    let facts = document.facts(
        (&target, &standing),
        (&statement, &findings),
        shown.request.created(),
    );
    Ok(Said {
        policy: policies.file().map_or_else(
            || format!("{whose} policy (built in)"),
            |file| file.display().to_string(),
        ),
        explanation: policies.current().explain(&facts),
    })
}
