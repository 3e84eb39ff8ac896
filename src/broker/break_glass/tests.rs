//! Filing what breaks the glass: who may, who may not, and what stops them when the first check is left out.

use super::*;
use crate::broker::tests::rig::{Rig, change};
use crate::core::principal::{Principal, PrincipalKind};
use crate::store::Filter as Entries;
use crate::store::requests::Filter;

impl Rig {
    async fn file(
        &self,
        checks: &Checks<DocumentError>,
        kind: PrincipalKind,
        reason: Option<&str>,
    ) -> Result<RequestId, Refusal> {
        let caller = Caller::of(Principal::new(kind, "zoe"));
        file_with(checks, &self.broker, &caller, change(reason)).await
    }

    /// Nothing was filed, and that is marked in the log.
    fn nothing_filed(&self, refusals: usize) {
        let state = &self.broker.state;
        let filed = state.requests().list(&Filter::default()).unwrap();
        assert!(filed.requests.is_empty());
        let filter = Entries {
            kind: Some(EventKind::RequestRefused),
            limit: 100,
            ..Entries::default()
        };
        let entries = state.log().list(&filter).unwrap();
        assert_eq!(entries.len(), refusals);
        for entry in entries {
            assert!(format!("{entry:?}").contains("break_glass"), "{entry:?}");
        }
    }
}

const WHY: Option<&str> = Some("orders are stuck");

#[tokio::test]
async fn a_person_files_what_then_waits_for_one_signature() {
    let rig = Rig::new(true).await;
    let filed = rig.file(&Checks::all(), PrincipalKind::Human, WHY).await;
    let request = rig.broker.state.requests().get(&filed.unwrap()).unwrap();
    assert_eq!(request.asked().purpose, Purpose::BreakGlass);
    let wanted = &request.asked().requirements;
    assert!(
        wanted.contains("break-glass") && wanted.contains("anyone"),
        "{wanted}"
    );
}

#[tokio::test]
async fn a_program_files_nothing_even_where_the_brokers_own_check_is_left_out() {
    for kind in [PrincipalKind::Ai, PrincipalKind::Service] {
        let rig = Rig::new(true).await;
        let refused = rig.file(&Checks::all(), kind, WHY).await.unwrap_err();
        assert_eq!(refused.code, Code::Forbidden);
        assert_eq!(refused.message, "only a person can break the glass");
        rig.nothing_filed(1);
        // Then it is the document that cannot be made.
        let weak = Checks::all().without(DocumentError::BreakGlassRequester);
        let refused = rig.file(&weak, kind, WHY).await.unwrap_err();
        assert_eq!(refused.code, Code::ApprovalRefused);
        rig.nothing_filed(2);
    }
}

#[tokio::test]
async fn without_a_reason_nothing_is_filed() {
    let rig = Rig::new(true).await;
    for (count, why) in [(1, None), (3, Some(" \u{200b} ")), (5, Some("fire"))] {
        let person = PrincipalKind::Human;
        let refused = rig.file(&Checks::all(), person, why).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidArgument);
        rig.nothing_filed(count);
        let weak = Checks::all().without(DocumentError::BreakGlassReason);
        let refused = rig.file(&weak, person, why).await.unwrap_err();
        assert_eq!(refused.code, Code::ApprovalRefused);
        rig.nothing_filed(count + 1);
    }
}

#[tokio::test]
async fn where_nobody_is_marked_nothing_is_filed() {
    let rig = Rig::new(false).await;
    let refused = rig.file(&Checks::all(), PrincipalKind::Human, WHY).await;
    let refused = refused.unwrap_err();
    assert!(
        refused.message.contains("nobody in the trust file"),
        "{refused}"
    );
    rig.nothing_filed(1);
}
