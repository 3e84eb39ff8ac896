//! Testing capabilities by their examples, on the real database.

use std::sync::Arc;

use serde_json::Value;

use super::Bench;
use crate::agent::rehearse::Rehearsal;
use crate::broker::submit::Wanted;
use crate::capabilities::Capabilities;
use crate::cli::{Exit, Failure, output};
use crate::core::capability::{Bundle, Capability, Example};
use crate::core::refusal::{Code, Refusal};
use crate::core::work::Work;
use crate::ids;

/// Makes the calls of all examples. What changes something is rolled back.
pub(super) async fn test(
    bench: &Bench<'_>,
    targets: &[(String, Arc<Capabilities>)],
) -> Result<Exit, Failure> {
    let mut good = true;
    for (target, all) in targets {
        let bundle = all.bundle();
        for capability in bundle.iter() {
            for (number, example) in (1..).zip(&capability.examples) {
                let name = format!("{} example {number}", capability.name);
                let tried = if capability.policy.readonly {
                    read(bench, target, capability, example).await
                } else {
                    change(bench, target, (&bundle, capability), example).await
                };
                match tried {
                    Ok(came) => output::say(&format!("  ok    {name}: {came}"))?,
                    Err(refusal) => {
                        good = false;
                        let (message, code) = (refusal.message, refusal.code);
                        output::say(&format!("  wrong {name}: {message} ({code})"))?;
                        if let Some(hint) = refusal.hint {
                            output::say(&format!("        hint: {hint}"))?;
                        }
                    }
                }
            }
        }
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

async fn read(
    bench: &Bench<'_>,
    target: &str,
    capability: &Capability,
    example: &Example,
) -> Result<String, Refusal> {
    let what = Wanted::Capability {
        name: capability.name.as_str().to_owned(),
        params: example.params.clone(),
    };
    let why = Some("an example is tested".to_owned());
    let answer = bench.ask(what, target, why).await?;
    Ok(rows(answer.report.rows.len() as u64))
}

async fn change(
    bench: &Bench<'_>,
    target: &str,
    (bundle, capability): (&Bundle, &Capability),
    example: &Example,
) -> Result<String, Refusal> {
    let values = capability
        .called(example.params.clone())
        .map_err(|list| crate::core::capability::unfit(&list))?;
    let values = Value::Object(values.into_iter().collect());
    let salt = ids::random().map_err(|_| Refusal::new(Code::Internal, "no random bytes"))?;
    let name = capability.name.as_str();
    let ids = &bench.local.broker.ids;
    let rehearsal = Rehearsal {
        target: target.to_owned(),
        work: Work::capability(name, bundle.digest(), vec![values], salt),
        principal: bench.caller.principal.clone(),
        ids: (ids.request(), ids.token()),
    };
    let came = Box::pin(bench.agent.rehearse(rehearsal)).await?;
    let returned = if capability.result.is_some() {
        format!(", and answers {}", rows(came.rows as u64))
    } else {
        String::new()
    };
    let changed = rows(came.affected);
    Ok(format!("changes {changed}{returned}; rolled back"))
}

fn rows(count: u64) -> String {
    format!("{count} {}", if count == 1 { "row" } else { "rows" })
}
