//! `[oidc]`: the identity provider whose tokens a relay takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use crate::config::document::{At, Source, Table};
use crate::config::problem::{Problem, Problems};
use crate::core::oidc::Settings;
use crate::core::policy::principals::is_name;

/// An identity provider, as a relay is told of it.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// What its claims mean.
    pub settings: Settings,
    /// Where its keys are, unless its own description says so.
    pub keys: Option<Url>,
    /// A file with certificates in PEM to trust besides the system's.
    pub authority: Option<PathBuf>,
}

/// Reads it, where there is one. What is wrong with the rest of the file is not looked for.
pub(super) fn from_file(source: &Source, problems: &mut Problems) -> Option<Oidc> {
    let entries = source.parse(problems)?;
    let table = source.top(&entries).table("oidc", problems)?;
    let known = [
        "audience",
        "authority",
        "issuer",
        "jwks",
        "kind_claim",
        "name_claim",
        "resource",
        "roles",
        "roles_claim",
    ];
    table.only(&known, problems);
    let issuer = address(&table, "issuer", problems);
    let jwks = address(&table, "jwks", problems);
    let resource = address(&table, "resource", problems);
    let audience = table.text("audience", problems);
    for (name, there) in [
        ("issuer", table.has("issuer")),
        ("audience", audience.is_some()),
    ] {
        if !there {
            problems.add(Problem::new(
                table.place.clone(),
                format!("`oidc` has no `{name}`"),
                "say whose tokens count, and what their `aud` has to name",
            ));
        }
    }
    let mut text = |name: &str| table.text(name, problems).map(|at| at.value);
    let (kind_claim, name_claim, roles_claim) =
        (text("kind_claim"), text("name_claim"), text("roles_claim"));
    let authority = text("authority").map(PathBuf::from);
    let audience = audience?.value;
    Some(Oidc {
        settings: Settings {
            issuer: issuer?.0,
            resource: resource.map_or_else(|| audience.clone(), |(text, _)| text),
            audience,
            name_claim: name_claim.unwrap_or_else(|| "sub".to_owned()),
            kind_claim,
            roles_claim: roles_claim.unwrap_or_else(|| "roles".to_owned()),
            roles: roles(&table, problems),
        },
        keys: jwks.map(|(_, url)| url),
        authority,
    })
}

/// An address, as it was written and as it is read.
fn address(table: &Table<'_>, name: &str, problems: &mut Problems) -> Option<(String, Url)> {
    let At { value, place } = table.text(name, problems)?;
    let url = Url::parse(&value).ok();
    let url = url.filter(|url| {
        let web = matches!(url.scheme(), "https" | "http") && url.host().is_some();
        web && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    });
    if let Some(url) = url {
        return Some((value, url));
    }
    problems.add(Problem::new(
        place,
        format!("`oidc.{name}` is no address of the web"),
        "write it like `https://login.example.com`",
    ));
    None
}

/// The role of each value of the claim.
fn roles(table: &Table<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(roles) = table.table("roles", problems) else {
        return BTreeMap::new();
    };
    let written = roles.all_texts(problems);
    for (_, at) in written.iter().filter(|(_, at)| !is_name(&at.value)) {
        problems.add(Problem::new(
            at.place.clone(),
            format!("`{}` is not the name of a role", at.value.escape_debug()),
            "`developer`, `readonly`, `admin`, or a role of your own for the policies",
        ));
    }
    written
        .into_iter()
        .map(|(value, at)| (value, at.value))
        .collect()
}
