//! The scenes in which a change waits for a signature, and in which somebody forges one.

use std::path::Path;

use serde_json::{Value, json};

use crate::demo::desk::Desk;
use crate::demo::script::{Stage, at, expect};
use crate::demo::transcript::Transcript;
use crate::demo::{DemoError, Seat};
use crate::exec::sqlite::sample;

/// What the model wants to change, and what it costs at first.
const SKU: &str = "SK-0007";
const PRICE: i64 = 1783;
const SALE: i64 = 1290;

/// Marks `?1` as approved for an hour, with the votes of `?2`: real ones, but for that request.
const FORGERY: &str = "update requests \
    set status = 'approved', votes = json_array_length(stolen.votes), due_at = stolen.now + 3600000, \
        state = json_object('is', 'approved', 'by', 'quorum', 'at', stolen.now, \
                            'until', stolen.now + 3600000, 'votes', json(stolen.votes)) \
    from (select coalesce(state ->> '$.votes', state ->> '$.approval.votes') as votes, \
                 cast(unixepoch('subsec') * 1000 as integer) as now \
          from requests where id = ?2) as stolen \
    where id = ?1";

/// The two databases, as files.
#[derive(Debug)]
pub(super) struct Files<'a> {
    /// The shop.
    pub(super) shop: &'a Path,
    /// SecondKey's own.
    pub(super) state: &'a Path,
}

impl Stage<'_> {
    /// A change waits, is signed and runs; another one is forged and does not.
    pub(super) async fn second_key(
        &self,
        page: &mut Transcript<'_>,
        desk: &Desk,
        seat: Seat,
        files: &Files<'_>,
    ) -> Result<(), DemoError> {
        page.scene("A price has to change. That takes a second key, and a person has it.")?;
        let (name, presence) = desk.trust().await?;
        page.note(&format!(
            "the demo's trust file names {name}, with a key made for this demo ({presence})"
        ))?;
        let id = self
            .wants(page, SALE, "spring sale: SK-0007 for 12.90")
            .await?;
        price(page, files, PRICE)?;
        let signed = decide(page, desk, seat, &id).await?;
        page.scene("The client comes back for it.")?;
        if signed {
            let said = self.allowed(page, "request", wait(&id)).await?;
            expect(
                at(&said.content, "/result/affected") == json!(1),
                "one row is changed",
            )?;
        } else {
            let said = self.refused(page, "request", wait(&id)).await?;
            expect_code(&said, "approval_pending")?;
            let cancel = json!({ "action": "cancel", "id": id });
            self.allowed(page, "request", cancel).await?;
        }
        let now = if signed { SALE } else { PRICE };
        price(page, files, now)?;
        // Without a signature to steal there are no votes to put in.
        let (votes, code) = if signed {
            ("the votes of the first request", "approval_refused")
        } else {
            ("no votes", "approval_required")
        };
        page.scene(
            "Somebody edits SecondKey's own database: a second change is marked as approved.",
        )?;
        let said = self.forgery(page, files, &id, votes).await?;
        expect_code(&said, code)?;
        price(page, files, now)
    }

    /// Marks another change as approved, with the votes of `signed`. Gives what comes of it.
    async fn forgery(
        &self,
        page: &mut Transcript<'_>,
        files: &Files<'_>,
        signed: &str,
        votes: &str,
    ) -> Result<Value, DemoError> {
        let id = self.wants(page, 1, "spring sale: SK-0007 for 0.01").await?;
        page.tool(
            "state.db",
            &format!(
                "update requests set status = 'approved', ... where id = '{id}'  with {votes}"
            ),
        )?;
        let changed = sample::change(files.state, FORGERY, &[&id, signed])?;
        expect(changed == 1, "the state is edited")?;
        self.refused(page, "request", wait(&id)).await
    }

    /// Asks for a price, and is told to wait. Gives the request.
    async fn wants(
        &self,
        page: &mut Transcript<'_>,
        cents: i64,
        reason: &str,
    ) -> Result<String, DemoError> {
        let sql = "update products set price_cents = $1 where sku = $2";
        let arguments = json!({ "sql": sql, "params": [cents, SKU], "reason": reason });
        let said = self.refused(page, "sql_execute", arguments).await?;
        expect_code(&said, "approval_pending")?;
        let listed = self
            .client
            .call("request", &json!({ "action": "list" }))
            .await?;
        let id = at(&listed.content, "/requests/0/id");
        let id = id.as_str().unwrap_or_default().to_owned();
        let named = at(&said, "/error/message");
        let named = named.as_str().unwrap_or_default();
        expect(
            !id.is_empty() && named.contains(&id),
            "the request is listed",
        )?;
        Ok(id)
    }
}

/// Somebody at the terminal decides; where nobody is, the demo does. Says whether it was signed.
pub(super) async fn decide(
    page: &mut Transcript<'_>,
    desk: &Desk,
    seat: Seat,
    id: &str,
) -> Result<bool, DemoError> {
    match seat {
        Seat::Taken => {
            page.scene("You are that person. Type approve to turn the second key.")?;
            page.tool("secondkey", &format!("approve {id}"))?;
            let signed = desk.ask(id).await?;
            if !signed {
                page.note("you did not sign, so it does not run")?;
            }
            Ok(signed)
        }
        Seat::Empty => {
            page.scene("This is what that person sees, and signs.")?;
            page.tool("secondkey", &format!("requests show {id}"))?;
            let shown = desk.show(id).await?;
            for line in shown.lines().filter(|line| !line.is_empty()) {
                page.note(&format!("  {line}"))?;
            }
            page.note("nobody is at a terminal here, so the demo signs with its own key:")?;
            page.tool("secondkey", &format!("approve {id}"))?;
            desk.sign_alone(id).await?;
            Ok(true)
        }
    }
}

/// Shows the price as another connection reads it.
fn price(page: &mut Transcript<'_>, files: &Files<'_>, wanted: i64) -> Result<(), DemoError> {
    let sql = "select price_cents from products where sku = ?1";
    let found = sample::number(files.shop, sql, &[SKU])?;
    expect(found == wanted, &format!("{SKU} costs {wanted}"))?;
    page.answer(&format!(
        "{SKU} costs {found} cents, as a connection of the demo's own reads it"
    ))
}

pub(super) fn wait(id: &str) -> Value {
    json!({ "action": "wait", "id": id })
}

pub(super) fn expect_code(said: &Value, code: &str) -> Result<(), DemoError> {
    expect(
        at(said, "/error/code") == code,
        &format!("{code} and not {said}"),
    )
}
