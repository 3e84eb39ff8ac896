//! Settings as they were written, before anybody asks what they mean.

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::database_url;
use crate::config::document::{At, Source, Table};
use crate::config::notify::{self, WrittenNotify};
use crate::config::principals::{self, WrittenPrincipal};
use crate::config::problem::{Place, Problem, Problems};
use crate::core::review::Rule;

/// What a configuration file says.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// `[limits]`.
    pub limits: WrittenLimits,
    /// `approval_wait`: how long a call waits for a person.
    pub approval_wait: Option<At<String>>,
    /// `capability_tools`: how capabilities are listed.
    pub capability_tools: Option<At<String>>,
    /// `policy`: the file of the workspace's policy.
    pub policy: Option<At<String>>,
    /// `agent_policy`: the file of the agent's own policy.
    pub agent_policy: Option<At<String>>,
    /// `[principals.PATTERN]`, in the order of the file.
    pub principals: Vec<WrittenPrincipal>,
    /// `[notify]`.
    pub notify: WrittenNotify,
    /// `agent.clients`: who may connect to the agent's socket.
    pub clients: Option<Vec<At<String>>>,
    /// `agent.approvers`: who sees everybody's requests there.
    pub approvers: Option<Vec<At<String>>>,
    /// `[review.ENVIRONMENT]`: each environment with its rules and levels as written.
    pub review: Vec<(String, Vec<WrittenLevel>)>,
    /// `[targets.NAME]`, in the order of the file.
    pub targets: Vec<WrittenTarget>,
}

/// One target. `None` and empty mean that nothing was written.
#[derive(Debug)]
pub(super) struct WrittenTarget {
    /// Its name; `None` where the user left it to us.
    pub name: Option<String>,
    /// Where it begins.
    pub place: Place,
    /// `url`: a database URL, or a reference to one; its absence is a problem already. Secret, since people put passwords in.
    pub url: Option<At<SecretString>>,
    /// `password`: a reference. Secret, since people put passwords in.
    pub password: Option<At<SecretString>>,
    /// `[targets.NAME.logins.EFFECT]`.
    pub logins: Vec<WrittenLogin>,
    /// `environment`.
    pub environment: Option<At<String>>,
    /// `labels`.
    pub labels: Vec<(String, At<String>)>,
    /// `allow`.
    pub allow: Option<Vec<At<String>>>,
    /// `trusted`.
    pub trusted: Vec<At<String>>,
    /// `allow_privileged_login`.
    pub allow_privileged_login: Option<At<bool>>,
    /// `sync_reads`.
    pub sync_reads: Option<At<bool>>,
    /// `capabilities`: the file of what can be called by name.
    pub capabilities: Option<At<String>>,
    /// `changed_capabilities`.
    pub changed_capabilities: Option<At<String>>,
    /// `only_capabilities`.
    pub only_capabilities: Option<At<bool>>,
    /// `ledger`: the table in which changes under idempotency keys are noted.
    pub ledger: Option<At<String>>,
    /// `[targets.NAME.limits]`.
    pub limits: WrittenLimits,
}

/// A further login of a target.
#[derive(Debug)]
pub(super) struct WrittenLogin {
    /// What it is for.
    pub effect: At<String>,
    /// `user`; its absence is a problem already.
    pub user: Option<At<String>>,
    /// `password`: a reference. Secret, since people put passwords in.
    pub password: Option<At<SecretString>>,
}

/// A review rule, with its level as written.
#[derive(Debug)]
pub(super) struct WrittenLevel {
    /// The rule.
    pub rule: Rule,
    /// The level.
    pub level: At<String>,
}

/// Limits.
#[derive(Debug, Default)]
pub(super) struct WrittenLimits {
    /// `rows`.
    pub rows: Option<At<String>>,
    /// `bytes`.
    pub bytes: Option<At<String>>,
    /// `time`.
    pub time: Option<At<String>>,
}

/// Reads a configuration file's text.
pub(super) fn from_file(source: &Source, problems: &mut Problems) -> Written {
    let Some(entries) = source.parse(problems) else {
        return Written::default();
    };
    let top = source.top(&entries);
    let known = [
        "agent",
        "agent_policy",
        "approval_wait",
        "capability_tools",
        "limits",
        "notify",
        "oidc",
        "policy",
        "principals",
        "relay",
        "review",
        "targets",
    ];
    top.only(&known, problems);
    let agent = top.table("agent", problems);
    if let Some(agent) = &agent {
        agent.only(&["approvers", "clients"], problems);
    }
    let mut accounts = |key| agent.as_ref().and_then(|agent| agent.texts(key, problems));
    let (clients, approvers) = (accounts("clients"), accounts("approvers"));
    let targets = top.table("targets", problems);
    let targets = targets.map(|table| table.tables(problems));
    Written {
        limits: limits(&top, problems),
        approval_wait: top.text("approval_wait", problems),
        capability_tools: top.text("capability_tools", problems),
        policy: top.text("policy", problems),
        agent_policy: top.text("agent_policy", problems),
        principals: principals::from_table(&top, problems),
        notify: notify::from_table(&top, problems),
        clients,
        approvers,
        review: review(&top, problems),
        targets: targets
            .unwrap_or_default()
            .into_iter()
            .map(|(name, table)| target(name, &table, problems))
            .collect(),
    }
}

/// Reads `[notify]` alone from a configuration file's text.
pub(super) fn notify_from_file(source: &Source, problems: &mut Problems) -> WrittenNotify {
    let Some(entries) = source.parse(problems) else {
        return WrittenNotify::default();
    };
    notify::from_table(&source.top(&entries), problems)
}

/// Reads `policy` and `agent_policy` alone from a configuration file's text.
pub(super) fn policies_from_file(
    source: &Source,
    problems: &mut Problems,
) -> [Option<At<String>>; 2] {
    let Some(entries) = source.parse(problems) else {
        return [None, None];
    };
    let top = source.top(&entries);
    ["policy", "agent_policy"].map(|key| top.text(key, problems))
}

/// Reads `[NAME=]URL`, as the command line and the environment write a target.
pub(super) fn from_text(text: &SecretString, place: Place) -> WrittenTarget {
    // What stands before `=` is a name unless it looks like the beginning of a URL with
    // parameters.
    let (name, url) = match text.expose_secret().split_once('=') {
        Some((name, url)) if !name.contains([':', '/', '?', '@']) => {
            (Some(name.to_owned()), SecretString::from(url))
        }
        Some(_) | None => (None, text.clone()),
    };
    WrittenTarget {
        name,
        url: Some(At {
            value: url,
            place: place.clone(),
        }),
        place,
        password: None,
        logins: Vec::new(),
        environment: None,
        labels: Vec::new(),
        allow: None,
        trusted: Vec::new(),
        allow_privileged_login: None,
        sync_reads: None,
        capabilities: None,
        changed_capabilities: None,
        only_capabilities: None,
        ledger: None,
        limits: WrittenLimits::default(),
    }
}

const TARGET_KEYS: [&str; 14] = [
    "url",
    "password",
    "logins",
    "environment",
    "labels",
    "allow",
    "trusted",
    "allow_privileged_login",
    "sync_reads",
    "capabilities",
    "changed_capabilities",
    "only_capabilities",
    "ledger",
    "limits",
];

fn target(name: At<String>, table: &Table<'_>, problems: &mut Problems) -> WrittenTarget {
    table.only(&TARGET_KEYS, problems);
    if !table.has("url") {
        problems.add(Problem::new(
            name.place.clone(),
            "this target has no `url`",
            format!("add `url = \"...\"`: {}", database_url::FORMS),
        ));
    }
    let labels = table.table("labels", problems);
    WrittenTarget {
        name: Some(name.value),
        place: name.place,
        url: table.text("url", problems).map(secret),
        password: table.text("password", problems).map(secret),
        logins: logins(table, problems),
        environment: table.text("environment", problems),
        labels: labels.map_or_else(Vec::new, |labels| labels.all_texts(problems)),
        allow: table.texts("allow", problems),
        trusted: table.texts("trusted", problems).unwrap_or_default(),
        allow_privileged_login: table.truth("allow_privileged_login", problems),
        sync_reads: table.truth("sync_reads", problems),
        capabilities: table.text("capabilities", problems),
        changed_capabilities: table.text("changed_capabilities", problems),
        only_capabilities: table.truth("only_capabilities", problems),
        ledger: table.text("ledger", problems),
        limits: limits(table, problems),
    }
}

fn logins(target: &Table<'_>, problems: &mut Problems) -> Vec<WrittenLogin> {
    let Some(logins) = target.table("logins", problems) else {
        return Vec::new();
    };
    let each = logins.tables(problems).into_iter().map(|(effect, table)| {
        table.only(&["user", "password"], problems);
        if !table.has("user") {
            problems.add(Problem::new(
                effect.place.clone(),
                "this login has no `user`",
                "name the user that the database knows it by",
            ));
        }
        WrittenLogin {
            effect,
            user: table.text("user", problems),
            password: table.text("password", problems).map(secret),
        }
    });
    each.collect()
}

fn review(top: &Table<'_>, problems: &mut Problems) -> Vec<(String, Vec<WrittenLevel>)> {
    let Some(review) = top.table("review", problems) else {
        return Vec::new();
    };
    let names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    let mut written = Vec::new();
    for (environment, table) in review.tables(problems) {
        table.only(&names, problems);
        let level = |rule: &Rule| {
            let level = table.text(rule.as_str(), problems)?;
            Some(WrittenLevel { rule: *rule, level })
        };
        let levels = Rule::ALL.iter().filter_map(level).collect();
        written.push((environment.value, levels));
    }
    written
}

fn limits(table: &Table<'_>, problems: &mut Problems) -> WrittenLimits {
    let Some(limits) = table.table("limits", problems) else {
        return WrittenLimits::default();
    };
    limits.only(&["rows", "bytes", "time"], problems);
    WrittenLimits {
        rows: limits.amount("rows", problems),
        bytes: limits.amount("bytes", problems),
        time: limits.amount("time", problems),
    }
}

fn secret(text: At<String>) -> At<SecretString> {
    At {
        value: SecretString::from(text.value),
        place: text.place,
    }
}
