//! Further pages of a result, for whoever asked for it.

use crate::agent::pages::PageOfRows;
use crate::broker::{Broker, Caller};
use crate::core::audit::EventKind;
use crate::core::ids::HandleId;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;

/// One page, from row `from` on.
pub async fn page(
    broker: &Broker,
    caller: &Caller,
    handle: &str,
    from: u64,
    max_rows: Option<u32>,
) -> Result<PageOfRows, Refusal> {
    let page = match handle.parse::<HandleId>() {
        Ok(_) if let Err(beyond) = caller.may(Effect::Read) => Err(beyond),
        Ok(handle) => {
            let rows = (from, max_rows);
            broker.link.page(&caller.principal, &handle, rows).await
        }
        Err(_) => Err(Refusal::new(Code::PageGone, "this is not a page handle")
            .hint("use the `handle` out of an answer's `truncated`")),
    };
    let draft = broker
        .draft(EventKind::PageRead, caller)
        .number("from", from);
    let draft = match &page {
        Ok(page) => draft
            .request(&page.origin.request)
            .target(&page.origin.target)
            .rows(page.rows.len() as u64),
        Err(refusal) => draft.refusal(refusal),
    };
    broker.state.log().append(draft).await?;
    page
}
