//! `defaults` and `policy`.

use crate::config::capability::fields::{Fields, Report};
use crate::config::capability::keys::RATE;
use crate::core::capability::{Hints, Policy, Rate};
use crate::core::limits::Limits;

/// A policy, with `base` for what it does not say.
pub(super) fn policy(fields: &Fields<'_>, base: Policy, report: &mut Report) -> Policy {
    let limits = Limits {
        rows: at_most(
            fields,
            ("max_rows", positive(fields, "max_rows", report)),
            Limits::MAX.rows,
            report,
        )
        .unwrap_or(base.limits.rows),
        bytes: at_most(
            fields,
            ("max_bytes", fields.size("max_bytes")),
            Limits::MAX.bytes,
            report,
        )
        .unwrap_or(base.limits.bytes),
        time_ms: at_most(
            fields,
            ("timeout", fields.time("timeout")),
            Limits::MAX.time_ms,
            report,
        )
        .unwrap_or(base.limits.time_ms),
    };
    if fields.node("visible").is_some() && fields.node("expose_in_openapi").is_some() {
        report.problem(
            fields.spot_of("expose_in_openapi"),
            "`visible` and `expose_in_openapi` say the same",
            "take one of them out",
        );
    }
    Policy {
        readonly: fields.truth("readonly").unwrap_or(base.readonly),
        limits,
        max_affected_rows: positive(fields, "max_affected_rows", report).or(base.max_affected_rows),
        rate: rate(fields, report).or(base.rate),
        approval: fields.truth("approval").unwrap_or(base.approval),
        visible: fields
            .truth("visible")
            .or(fields.truth("expose_in_openapi"))
            .unwrap_or(base.visible),
    }
}

fn rate(fields: &Fields<'_>, report: &mut Report) -> Option<Rate> {
    let rate = fields.section("rate_limit", RATE, report)?;
    for key in ["requests", "per"] {
        if rate.node(key).is_none() {
            let name = rate.name(key);
            report.problem(rate.spot, format!("`{name}` is missing"), "");
        }
    }
    let small = |key: &str, report: &mut Report| {
        at_most(
            &rate,
            (key, positive(&rate, key, report)),
            1_000_000,
            report,
        )
    };
    let requests = small("requests", report);
    let burst = small("burst", report).or(requests);
    Some(Rate {
        requests: requests?,
        per_ms: rate.time("per")?,
        burst: burst?,
    })
}

fn positive(fields: &Fields<'_>, key: &str, report: &mut Report) -> Option<u64> {
    let number = fields.whole(key)?;
    let positive = u64::try_from(number).ok().filter(|number| *number > 0);
    if positive.is_none() {
        let name = fields.name(key);
        report.problem(
            fields.spot_of(key),
            format!("`{name}` must be 1 or more"),
            "",
        );
    }
    positive
}

fn at_most(
    fields: &Fields<'_>,
    (key, amount): (&str, Option<u64>),
    most: u32,
    report: &mut Report,
) -> Option<u32> {
    let amount = amount?;
    let small = u32::try_from(amount).ok().filter(|small| *small <= most);
    if small.is_none() {
        let unit = match key {
            "timeout" => " ms",
            "max_bytes" => " bytes",
            _ => "",
        };
        report.problem(
            fields.spot_of(key),
            format!(
                "`{}` is more than {most}{unit}, the most there is here",
                fields.name(key)
            ),
            "",
        );
    }
    small
}

/// `annotations`, under a policy. What is not said follows from the policy.
pub(super) fn hints(fields: Option<&Fields<'_>>, policy: &Policy, report: &mut Report) -> Hints {
    let said = |key| fields.and_then(|fields| fields.truth(key));
    let hints = Hints {
        read_only: said("read_only"),
        destructive: said("destructive"),
        idempotent: said("idempotent"),
        open_world: said("open_world"),
    };
    if let Some(fields) = fields.filter(|_| hints.read_only.is_some_and(|it| it != policy.readonly))
    {
        report.problem(
            fields.spot_of("read_only"),
            format!(
                "`read_only` says otherwise than the policy, where `readonly` is {}",
                policy.readonly
            ),
            "make them agree",
        );
    }
    hints
}
