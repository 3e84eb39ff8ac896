//! The scenes with reviewed operations: one waits for a signature, and one is withdrawn while its table is
//! changed under it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::demo::desk::Desk;
use crate::demo::script::{Stage, at, expect};
use crate::demo::second_key::{Files, decide, expect_code, wait};
use crate::demo::transcript::Transcript;
use crate::demo::{DemoError, Seat};
use crate::exec::sqlite::sample;

/// How long the agent may take to notice.
const PATIENCE: Duration = Duration::from_mins(1);

impl Stage<'_> {
    /// Reviewed operations, by name.
    pub(super) async fn reviewed(
        &self,
        page: &mut Transcript<'_>,
        (desk, seat): (&Desk, Seat),
        files: &Files<'_>,
    ) -> Result<(), DemoError> {
        page.scene(
            "Reviewed operations are tools of their own. Their SQL stays in capability.yaml.",
        )?;
        let paid = json!({ "customer_id": 42, "status": "paid" });
        let said = self.allowed(page, "orders_of_customer", paid).await?;
        let order = at(&said.content, "/rows/0/order_id");
        expect(order.is_i64(), "customer 42 has a paid order")?;
        page.answer(&at(&said.content, "/rows/0").to_string())?;
        let bad = json!({ "order_id": 0 });
        let said = self.refused(page, "ship_order", bad).await?;
        expect_code(&said, "invalid_parameter")?;
        let ship = json!({ "order_id": order, "reason": "the parcel has left" });
        let said = self.refused(page, "ship_order", ship).await?;
        expect_code(&said, "approval_pending")?;
        let listed = self
            .client
            .call("request", &json!({ "action": "list" }))
            .await?;
        let id = at(&listed.content, "/requests/0/id");
        let id = id.as_str().unwrap_or_default();
        if seat == Seat::Empty && decide(page, desk, seat, id).await? {
            let said = self.allowed(page, "request", wait(id)).await?;
            expect(
                at(&said.content, "/result/affected") == json!(1),
                "one order is shipped",
            )?;
        } else {
            page.note("once is enough: this one is taken back")?;
            let cancel = json!({ "action": "cancel", "id": id });
            self.allowed(page, "request", cancel).await?;
        }
        self.drift(page, files).await
    }

    /// A column is renamed under one, and named back.
    async fn drift(&self, page: &mut Transcript<'_>, files: &Files<'_>) -> Result<(), DemoError> {
        page.scene("Somebody renames a column under one of them.")?;
        let rename =
            |from: &str, to: &str| format!("alter table products rename column {from} to {to}");
        let away = rename("stock", "pieces");
        page.tool("shop.db", &away)?;
        sample::change(files.shop, &away, &[])?;
        // The first call after it finds out.
        let call = json!({ "name": "low_stock" });
        self.client.call("capability_call", &call).await?;
        self.until(false).await?;
        let said = self.refused(page, "capability_call", call).await?;
        expect_code(&said, "capability_withdrawn")?;
        let back = rename("pieces", "stock");
        page.tool("shop.db", &back)?;
        sample::change(files.shop, &back, &[])?;
        self.until(true).await?;
        self.allowed(page, "low_stock", json!({ "below": 10 }))
            .await?;
        page.answer("its tool was gone meanwhile, and is back by itself")
    }

    /// Waits until `low_stock` is a tool, or is none.
    async fn until(&self, there: bool) -> Result<(), DemoError> {
        let begun = Instant::now();
        while self
            .client
            .tools()
            .await?
            .iter()
            .any(|tool| tool == "low_stock")
            != there
        {
            expect(begun.elapsed() < PATIENCE, "the agent notices")?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
