//! Parameters, their rules, and the columns of an answer.

use std::path::Path;

use serde_json::Value;

use crate::config::capability::fields::{Fields, Report};
use crate::config::capability::keys::{COLUMN, COLUMN_ITEMS, ITEMS, PARAM};
use crate::config::secret::{FORMS, Reference};
use crate::core::capability::{
    Claim, Format, Kind, Parameter, Pattern, ResultColumn, Rules, Scalar, Source,
};
use crate::core::statement::named;

/// One parameter; nothing where its type cannot be told.
pub(super) fn parameter(name: &str, fields: &Fields<'_>, report: &mut Report) -> Option<Parameter> {
    if !named::is_name(name) {
        report.problem(
            fields.spot,
            format!("`{}` cannot name a parameter", name.escape_debug()),
            "use 1 to 63 of a-z A-Z 0-9 _ and no digit first",
        );
    }
    let kind = kind(fields, ITEMS, report)?;
    // What is wrong with it was reported when the type was read.
    let mut second_look = Report::new(Path::new(""));
    let items = fields.section("items", ITEMS, &mut second_look);
    let rules = match items.as_ref().filter(|_| kind.array) {
        Some(items) => {
            for key in RULES {
                if fields.node(key).is_some() {
                    let name = fields.name(key);
                    report.problem(
                        fields.spot_of(key),
                        format!("`{name}` belongs under `items`"),
                        "",
                    );
                }
            }
            rules(items, kind.scalar, report)
        }
        None => rules(fields, kind.scalar, report),
    };
    let mut parameter = Parameter {
        name: name.to_owned(),
        kind,
        source: Source::Caller {
            required: fields.truth("required").unwrap_or(false),
            default: None,
        },
        nullable: fields.truth("nullable").unwrap_or(false),
        rules,
        description: fields.text("description").unwrap_or_default().to_owned(),
    };
    let default = fields
        .any("default")
        .and_then(|value| default(&parameter, value, fields, report));
    parameter.source = source(fields, kind, default, report);
    Some(parameter)
}

const RULES: [&str; 7] = [
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "format",
];

fn default(
    parameter: &Parameter,
    value: Value,
    fields: &Fields<'_>,
    report: &mut Report,
) -> Option<Value> {
    let fit = if value.is_null() {
        Err("must not be null".to_owned())
    } else {
        parameter.fit(value)
    };
    fit.map_err(|rule| {
        let name = fields.name("default");
        report.problem(fields.spot_of("default"), format!("`{name}` {rule}"), "");
    })
    .ok()
}

fn source(fields: &Fields<'_>, kind: Kind, default: Option<Value>, report: &mut Report) -> Source {
    let secret = fields.truth("secret").unwrap_or(false);
    let claim = fields.text("from").and_then(Claim::named);
    if claim.is_some() || secret {
        let one = if secret { "secret" } else { "from" };
        for key in ["required", "default", "nullable"].into_iter().chain(RULES) {
            if fields.node(key).is_some() {
                report.problem(
                    fields.spot_of(key),
                    format!(
                        "`{}` does not go with `{one}`: no caller sends this",
                        fields.name(key)
                    ),
                    "take it out",
                );
            }
        }
        if kind != Kind::one(Scalar::String) {
            let message = format!("a parameter with `{one}` is of the type `string`");
            report.problem(fields.spot_of("type"), message, "");
        }
    }
    if secret != fields.node("value").is_some() || secret && claim.is_some() {
        report.problem(
            fields.spot,
            "`secret: true` and `value` go together, and with no `from`",
            format!("a value is a reference: {FORMS}"),
        );
    }
    let value = fields.text("value").unwrap_or_default();
    if secret && !value.is_empty() && Reference::parse(value).is_none() {
        report.problem(
            fields.spot_of("value"),
            "`value` must be a reference, not the secret itself",
            format!("write {FORMS}"),
        );
    }
    match claim {
        _ if secret => Source::Secret(value.to_owned()),
        Some(claim) => Source::Claim(claim),
        None => Source::Caller {
            required: fields.truth("required").unwrap_or(false),
            default,
        },
    }
}

fn kind(
    fields: &Fields<'_>,
    items_keys: &'static [crate::config::capability::keys::Key],
    report: &mut Report,
) -> Option<Kind> {
    let Some(written) = fields.text("type") else {
        if fields.node("type").is_none() {
            report.problem(
                fields.spot,
                format!("`{}` is missing", fields.name("type")),
                "",
            );
        }
        return None;
    };
    let items = fields.section("items", items_keys, report);
    if written != "array" {
        if let Some(items) = items {
            report.problem(items.spot, "`items` belongs to the type `array`", "");
        }
        return Scalar::named(written).map(Kind::one);
    }
    let Some(items) = items else {
        report.problem(
            fields.spot_of("type"),
            "an array needs `items`",
            "write `items: { type: integer }`",
        );
        return None;
    };
    let scalar = items.text("type").and_then(Scalar::named);
    if items.node("type").is_none() {
        report.problem(
            items.spot,
            format!("`{}` is missing", items.name("type")),
            "",
        );
    }
    Some(Kind {
        scalar: scalar?,
        array: true,
    })
}

fn rules(fields: &Fields<'_>, scalar: Scalar, report: &mut Report) -> Rules {
    let text = scalar == Scalar::String;
    let number = matches!(scalar, Scalar::Integer | Scalar::Number);
    for (key, fits) in [
        ("minimum", number),
        ("maximum", number),
        ("minLength", text),
        ("maxLength", text),
        ("pattern", text),
        ("format", text),
    ] {
        if fields.node(key).is_some() && !fits {
            let message = format!(
                "`{}` does not go with the type `{}`",
                fields.name(key),
                scalar.as_str()
            );
            report.problem(fields.spot_of(key), message, "");
        }
    }
    let mut rules = Rules {
        one_of: None,
        minimum: fields.whole("minimum"),
        maximum: fields.whole("maximum"),
        min_length: length(fields, "minLength", report),
        max_length: length(fields, "maxLength", report),
        pattern: pattern(fields, report),
        format: fields.text("format").and_then(Format::named),
    };
    let backwards =
        |least: Option<i64>, most: Option<i64>| least.zip(most).is_some_and(|(a, b)| a > b);
    if backwards(rules.minimum, rules.maximum) {
        report.problem(
            fields.spot_of("minimum"),
            "`minimum` is more than `maximum`",
            "",
        );
    }
    if rules
        .min_length
        .zip(rules.max_length)
        .is_some_and(|(a, b)| a > b)
    {
        report.problem(
            fields.spot_of("minLength"),
            "`minLength` is more than `maxLength`",
            "",
        );
    }
    rules.one_of = one_of(fields, (scalar, &rules), report);
    rules
}

fn length(fields: &Fields<'_>, key: &str, report: &mut Report) -> Option<u64> {
    let length = u64::try_from(fields.whole(key)?).ok();
    if length.is_none() {
        report.problem(
            fields.spot_of(key),
            format!("`{}` must be 0 or more", fields.name(key)),
            "",
        );
    }
    length
}

fn pattern(fields: &Fields<'_>, report: &mut Report) -> Option<Pattern> {
    let built = Pattern::try_from(fields.text("pattern")?.to_owned());
    let spot = fields.spot_of("pattern");
    built
        .map_err(|fault| {
            let hint = "look-around and back-references do not exist here";
            report.problem(spot, format!("`pattern` {fault}"), hint);
        })
        .ok()
}

fn one_of(
    fields: &Fields<'_>,
    (scalar, rules): (Scalar, &Rules),
    report: &mut Report,
) -> Option<Vec<Value>> {
    let items = fields.list("enum")?;
    if items.is_empty() {
        report.problem(
            fields.spot_of("enum"),
            "`enum` is empty, so nothing could be sent",
            "",
        );
    }
    let mut values = Vec::new();
    for item in items {
        match rules.fit(scalar, item.json()) {
            Ok(value) if values.contains(&value) => {
                report.problem(item.spot, "this value stands here twice", "");
            }
            Ok(value) => values.push(value),
            Err(rule) => report.problem(item.spot, format!("a value of `enum` {rule}"), ""),
        }
    }
    Some(values)
}

/// All parameters, in the order of the file.
pub(super) fn parameters(of: &Fields<'_>, report: &mut Report) -> Vec<Parameter> {
    let Some(node) = of.node("params") else {
        return Vec::new();
    };
    let Some(all) = Fields::free(node, of.name("params"), report) else {
        return Vec::new();
    };
    let mut params = Vec::new();
    for (name, _, node) in all.entries() {
        if let Some(fields) = Fields::of(node, all.name(name), PARAM, report) {
            params.extend(parameter(name, &fields, report));
        }
    }
    params
}

/// The columns of an answer, in the order of the file; nothing where none are listed.
pub(super) fn columns(of: &Fields<'_>, report: &mut Report) -> Option<Vec<ResultColumn>> {
    let all = Fields::free(of.node("result")?, of.name("result"), report)?;
    let mut columns = Vec::new();
    for (name, _, node) in all.entries() {
        let Some(fields) = Fields::of(node, all.name(name), COLUMN, report) else {
            continue;
        };
        columns.extend(
            kind(&fields, COLUMN_ITEMS, report).map(|kind| ResultColumn {
                name: name.clone(),
                kind,
                nullable: fields.truth("nullable").unwrap_or(true),
                description: fields.text("description").unwrap_or_default().to_owned(),
            }),
        );
    }
    Some(columns)
}
