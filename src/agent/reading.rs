//! What is read without an order: names and types out of a catalogue, and pages of earlier results. A frozen
//! agent gives out neither.

use crate::agent::{Agent, pages::PageOfRows};
use crate::core::ids::HandleId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::target::TargetName;
use crate::exec::Executor;

impl Agent {
    /// Refuses while somebody has frozen this agent.
    pub(super) fn awake(&self) -> Result<(), Refusal> {
        if !self.state.is_frozen() {
            return Ok(());
        }
        Err(Refusal::new(
            Code::Frozen,
            "this agent is frozen: somebody has stopped everything new",
        )
        .hint("tell the person; they let it go on with `secondkey agent thaw`"))
    }

    /// The engine that serves a target, or why there is none.
    pub fn serving(&self, target: &TargetName) -> Result<&Executor, Refusal> {
        let found = self.executors.get(target.as_str());
        found.map(AsRef::as_ref).ok_or_else(|| {
            let sentence = format!("this agent does not serve `{target}`");
            Refusal::new(Code::UnknownTarget, sentence)
        })
    }

    /// Rows of an earlier result, from a row on: so many of them, or what the target lets onto a page.
    pub async fn page(
        &self,
        owner: &Principal,
        handle: &HandleId,
        (from, max_rows): (u64, Option<u32>),
    ) -> Result<PageOfRows, Refusal> {
        self.awake()?;
        self.pages.page(owner, handle, from, max_rows).await
    }

    /// The tables and views of a target: of one schema where it is named, with a text in their names where
    /// one is searched for.
    pub async fn list_tables(
        &self,
        target: &TargetName,
        (schema, search): (Option<&str>, Option<&str>),
    ) -> Result<Vec<TableSummary>, Refusal> {
        self.awake()?;
        self.serving(target)?.list_tables(schema, search).await
    }

    /// One table or view of a target.
    pub async fn describe_table(
        &self,
        target: &TargetName,
        table: &str,
    ) -> Result<TableDescription, Refusal> {
        self.awake()?;
        self.serving(target)?.describe_table(table).await
    }
}
