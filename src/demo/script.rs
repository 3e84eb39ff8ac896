//! What the demo's client tries, and what has to come of it.

use serde_json::{Value, json};

use crate::demo::DemoError;
use crate::demo::client::{Client, Said};
use crate::demo::transcript::Transcript;

/// Plays every scene in which nobody is asked.
pub(super) async fn play(stage: &Stage<'_>, page: &mut Transcript<'_>) -> Result<(), DemoError> {
    stage.explore(page).await?;
    stage.question(page).await?;
    stage.limit(page).await?;
    stage.forbidden(page).await?;
    stage.injection(page).await
}

/// Where the scenes are played.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// The model's side.
    pub(super) client: &'a Client,
}

impl Stage<'_> {
    async fn explore(&self, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        page.scene("The client looks around.")?;
        page.note(&format!("tools: {}", self.client.tools().await?.join(", ")))?;
        let tables = self.allowed(page, "list_tables", json!({})).await?;
        let names = texts(&tables.content, "/tables", "/name");
        expect(names.len() == 7, "the shop has seven tables and views")?;
        page.answer(&names.join(", "))?;
        let orders = self
            .allowed(page, "describe_table", json!({ "table": "orders" }))
            .await?;
        let columns = texts(&orders.content, "/columns", "/name");
        let keys = texts(&orders.content, "/foreign_keys", "/table");
        page.answer(&format!(
            "columns {}; refers to {}",
            columns.join(", "),
            keys.join(", ")
        ))
    }

    async fn question(&self, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        page.scene("It asks a question, with its value as a parameter.")?;
        let sql = "select c.country, count(*) as orders from orders o join customers c on c.id = o.customer_id \
                   where o.status = $1 group by 1 order by 2 desc limit 3";
        let arguments =
            json!({ "sql": sql, "params": ["returned"], "reason": "returns by country" });
        let said = self.allowed(page, "sql_execute", arguments).await?;
        expect(rows(&said).len() == 3, "three countries come back")?;
        page.rows(&said.content)
    }

    async fn limit(&self, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        page.scene("It asks for too much, is told exactly what was left out, and turns the page.")?;
        let said = self
            .allowed(
                page,
                "sql_execute",
                json!({ "sql": "select * from order_items", "max_rows": 50 }),
            )
            .await?;
        let cut = at(&said.content, "/truncated");
        expect(
            rows(&said).len() == 50 && at(&cut, "/by") == "rows",
            "the answer is cut at 50 rows and says so",
        )?;
        page.answer(&format!("50 rows, truncated: {cut}"))?;
        let more =
            json!({ "handle": at(&cut, "/handle"), "from": at(&cut, "/next"), "max_rows": 50 });
        let said = self.allowed(page, "result_page", more).await?;
        expect(
            rows(&said).len() == 50,
            "the next page has the next 50 rows",
        )?;
        page.answer(&format!(
            "the next 50 rows; at least {} in all",
            at(&said.content, "/truncated/at_least")
        ))
    }

    async fn forbidden(&self, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        page.scene("A review in the shop tells it to delete the orders. Suppose it obeys.")?;
        for sql in [
            "delete from orders",
            "with gone as (select 1) update orders set status = 'returned' from gone",
            "attach database '/tmp/copy.db' as copy",
        ] {
            self.refused(page, "sql_execute", json!({ "sql": sql }))
                .await?;
        }
        Ok(())
    }

    async fn injection(&self, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        page.scene("Somebody tries to inject SQL.")?;
        let two = json!({ "sql": "select 1; drop table orders" });
        self.refused(page, "sql_execute", two).await?;
        let sql = "select count(*) as found from customers where name = $1";
        let arguments = json!({ "sql": sql, "params": ["x'; drop table orders; --"] });
        let said = self.allowed(page, "sql_execute", arguments).await?;
        expect(
            at(&said.content, "/rows") == json!([[0]]),
            "the text is a value and nothing else",
        )?;
        page.answer("0 rows: the text was a value, never a statement")?;
        self.orders_are_there(page).await
    }

    async fn orders_are_there(&self, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        let sql = "select count(*) as orders from orders where status <> 'returned'";
        let said = self
            .allowed(page, "sql_execute", json!({ "sql": sql }))
            .await?;
        expect(
            at(&said.content, "/rows") == json!([[14361]]),
            "every order is still there",
        )?;
        page.answer("14361: every order is still there")
    }

    /// Makes a call that has to be answered.
    pub(super) async fn allowed(
        &self,
        page: &mut Transcript<'_>,
        tool: &str,
        arguments: Value,
    ) -> Result<Said, DemoError> {
        page.call(tool, &arguments)?;
        let said = self.client.call(tool, &arguments).await?;
        expect(!said.refused, &said.content.to_string())?;
        Ok(said)
    }

    /// Makes a call that has to be refused, and gives what was said.
    pub(super) async fn refused(
        &self,
        page: &mut Transcript<'_>,
        tool: &str,
        arguments: Value,
    ) -> Result<Value, DemoError> {
        page.call(tool, &arguments)?;
        let said = self.client.call(tool, &arguments).await?;
        expect(said.refused, "the call is refused")?;
        page.refusal(&said.content)?;
        Ok(said.content)
    }
}

fn rows(said: &Said) -> &[Value] {
    said.content
        .get("rows")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// What stands at a place of an answer; null where nothing does.
pub(super) fn at(content: &Value, place: &str) -> Value {
    content.pointer(place).cloned().unwrap_or_default()
}

fn texts(content: &Value, list: &str, field: &str) -> Vec<String> {
    let items = content.pointer(list).and_then(Value::as_array);
    let text = |item: &Value| {
        item.pointer(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    items.into_iter().flatten().filter_map(text).collect()
}

/// Ends the demo unless this holds.
pub(super) fn expect(holds: bool, what: &str) -> Result<(), DemoError> {
    if holds {
        Ok(())
    } else {
        Err(DemoError::Surprise(format!("expected: {what}")))
    }
}
