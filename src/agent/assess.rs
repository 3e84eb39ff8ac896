//! What the agent would say of work, before anybody orders it: so that the people who are asked see
//! all that the agent will demand. Nothing runs.

use std::sync::Arc;

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
        self.awake()?;
        let executor = self.executors.get(target).ok_or_else(|| {
            Refusal::new(Code::UnknownTarget, "the agent does not serve this target")
        })?;
        let target = executor.target();
        let planned = self.planned(target, work, asks.0)?;
        let told = |refusal| self.told(planned.as_ref(), refusal, "an assessment");
        let run = planned.as_ref().map_or(work, |it| &it.sql);
        let parsed = self.parser.parse_work(target.engine, run).await;
        let statement = executor
            .judge(parsed.map_err(told)?, run)
            .await
            .map_err(told)?;
        let judged = (statement.as_ref(), planned.as_ref());
        let mut judgement = policy::judge(self, asks, target, judged);
        let statement = match &planned {
            Some(planned) => {
                planned.within(&statement)?;
                // What the review says of the statement tells of the statement.
                judgement.findings.clear();
                Arc::new(planned.masked(&statement))
            }
            None => statement,
        };
        Ok(Assessment {
            statement,
            judgement,
        })
    }
}
