//! What the agent would say of work, before anybody orders it: so that the people who are asked see
//! all that the agent will demand. Nothing runs.

use crate::agent::{Agent, Assessment, policy};
use crate::core::approval::Purpose;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::work::Work;

impl Agent {
    /// Judges work that somebody wants run on a target, for a purpose.
    pub async fn assess(
        &self,
        target: &str,
        work: &Work,
        asks: (&Principal, Purpose),
    ) -> Result<Assessment, Refusal> {
        let executor = self.executors.get(target).ok_or_else(|| {
            Refusal::new(Code::UnknownTarget, "the agent does not serve this target")
        })?;
        let target = executor.target();
        let parsed = self.parser.parse(target.engine, work.text()).await?;
        let statement = executor.judge(parsed, work).await?;
        let judgement = policy::judge(self, asks, target, &statement);
        Ok(Assessment {
            statement,
            judgement,
        })
    }
}
