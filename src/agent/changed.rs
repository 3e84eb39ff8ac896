//! Capabilities that are no longer what they were: noticed, recorded, and where the target wants it, withdrawn until
//! somebody has signed that they may be called as they are.

use crate::agent::Agent;
use crate::core::audit::{Draft, EventKind};
use crate::core::capability::{Remembered, news};
use crate::core::refusal::Refusal;

impl Agent {
    /// Holds what a target offers against what is remembered of it, and remembers what is new.
    /// What was accepted meanwhile is called again.
    pub async fn remember_capabilities(&self, target: &str) -> Result<(), Refusal> {
        let Some(all) = self.capabilities(target) else {
            return Ok(());
        };
        let memory = self.state.memory();
        let known = memory.of(target).await?;
        let how = (all.when_changed(), self.clock.now());
        let news = news(&known, (target, &all.bundle()), how);
        if !news.is_empty() {
            for one in news.iter().filter(|one| one.is_changed()) {
                self.state.log().append(self.changed(one)).await?;
            }
            if known.is_empty() {
                self.state.log().append(self.met(target, &news)).await?;
            }
            memory.keep(news).await?;
        }
        all.remember(&memory.of(target).await?);
        Ok(())
    }

    fn changed(&self, one: &Remembered) -> Draft {
        let draft = Draft::new(self.clock.now(), EventKind::CapabilityChanged)
            .target(&one.target)
            .text("capability", &one.name)
            .text("to", &one.seen.0.to_string());
        match one.before() {
            Some(before) => draft.text("from", &before.to_string()),
            None => draft,
        }
    }

    /// The first time that anything is offered for a target: taken as it is.
    fn met(&self, target: &str, all: &[Remembered]) -> Draft {
        Draft::new(self.clock.now(), EventKind::CapabilityAccepted)
            .target(target)
            .number("capabilities", all.len() as u64)
            .text("why", "first seen")
    }
}
