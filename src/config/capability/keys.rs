//! Every key of the file: what it takes, and what it says. Reader and schema both go by this.

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// As written.
    pub name: &'static str,
    /// What stands behind it.
    pub takes: Takes,
    /// What it says, for people.
    pub about: &'static str,
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    /// A text.
    Text,
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Whole,
    /// A size: a number, or a text such as `512KB`.
    Size,
    /// A time as Go writes it: `4s`.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of anything.
    List,
    /// Anything.
    Any,
    /// A mapping with these keys.
    Section(&'static [Key]),
    /// A list of mappings with these keys.
    Sections(&'static [Key]),
    /// A mapping whose keys the author chooses, each to a mapping with these.
    Named(&'static [Key]),
    /// Something that means nothing here.
    Ignored,
}

const fn key(name: &'static str, takes: Takes, about: &'static str) -> Key {
    Key { name, takes, about }
}

use Takes::{Any, Ignored, List, Named, Section, Sections, Size, Text, Time, Truth, Whole, Word};

/// The types.
pub(super) const TYPES: &[&str] = &[
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "date-time",
    "uuid",
    "decimal",
    "json",
    "array",
];
/// The types of an array's values.
pub(super) const ITEM_TYPES: &[&str] = &[
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "date-time",
    "uuid",
    "decimal",
    "json",
];
/// The formats.
pub(super) const FORMATS: &[&str] = &["email", "uuid", "date", "date-time", "uri"];
/// What a parameter can take from whoever calls.
pub(super) const CLAIMS: &[&str] = &["principal", "name", "user", "kind"];

/// The whole file.
pub(super) const FILE: &[Key] = &[
    key("service", Section(SERVICE), "What the file as a whole is"),
    key(
        "defaults",
        Section(POLICY),
        "The policy of each capability that does not say otherwise",
    ),
    key("capabilities", Named(CAPABILITY), "The operations, by name"),
    key(
        "gateway",
        Ignored,
        "Of Onprest; `secondkey agent join` does its job",
    ),
    key(
        "database",
        Ignored,
        "Of Onprest; the target's `url` in secondkey.toml does its job",
    ),
    key("runtime", Ignored, "Of Onprest; not used"),
    key("logging", Ignored, "Of Onprest; not used"),
];

/// `service`.
pub(super) const SERVICE: &[Key] = &[
    key("title", Text, "A title for people"),
    key("version", Text, "Your own version of the file"),
    key("description", Text, "What the operations are for"),
];

/// One capability.
pub(super) const CAPABILITY: &[Key] = &[
    key(
        "description",
        Text,
        "What it does, for those who call it; the first line matters most",
    ),
    key(
        "sql",
        Text,
        "One statement, with `:name` where a parameter's value belongs",
    ),
    key("params", Named(PARAM), "The parameters, by name"),
    key(
        "policy",
        Section(POLICY),
        "What may happen; it can only tighten the policies that apply anyway",
    ),
    key(
        "result",
        Named(COLUMN),
        "The columns that leave; no other does",
    ),
    key(
        "annotations",
        Section(ANNOTATIONS),
        "What clients are told of its manners",
    ),
    key(
        "examples",
        Sections(EXAMPLE),
        "Calls that show how it is meant; `secondkey capability test` makes them",
    ),
    key(
        "reviewed",
        Section(REVIEWED),
        "Who looked at it; shown to those who approve calls",
    ),
];

/// One parameter.
pub(super) const PARAM: &[Key] = &[
    key("type", Word(TYPES), "The type"),
    key("items", Section(ITEMS), "What each value of an array is"),
    key("required", Truth, "Whether there is no call without it"),
    key(
        "nullable",
        Truth,
        "Whether null is a value; without it and a default, a parameter that is left out is null",
    ),
    key("default", Any, "What it is where a call leaves it out"),
    key("enum", List, "The only values"),
    key("minimum", Whole, "The least number"),
    key("maximum", Whole, "The greatest number"),
    key("minLength", Whole, "The fewest characters"),
    key("maxLength", Whole, "The most characters"),
    key(
        "pattern",
        Text,
        "A regular expression that the text has to match",
    ),
    key("format", Word(FORMATS), "What the text has to be"),
    key("description", Text, "What it is, for callers"),
    key(
        "from",
        Word(CLAIMS),
        "What of the caller's identity it is; no caller can send it",
    ),
    key(
        "secret",
        Truth,
        "Whether the agent fills it in from `value`; callers never learn of it",
    ),
    key(
        "value",
        Text,
        "Where the secret is kept: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`",
    ),
];

/// The values of an array.
pub(super) const ITEMS: &[Key] = &[
    key("type", Word(ITEM_TYPES), "The type"),
    key("enum", List, "The only values"),
    key("minimum", Whole, "The least number"),
    key("maximum", Whole, "The greatest number"),
    key("minLength", Whole, "The fewest characters"),
    key("maxLength", Whole, "The most characters"),
    key(
        "pattern",
        Text,
        "A regular expression that each text has to match",
    ),
    key("format", Word(FORMATS), "What each text has to be"),
];

/// A policy.
pub(super) const POLICY: &[Key] = &[
    key(
        "readonly",
        Truth,
        "Whether it may only read; true where nothing is said",
    ),
    key("timeout", Time, "The longest it may run, such as `5s`"),
    key("max_rows", Whole, "The most rows of an answer"),
    key("max_bytes", Size, "The largest answer, such as `512KB`"),
    key(
        "max_affected_rows",
        Whole,
        "A change of more rows is rolled back",
    ),
    key(
        "rate_limit",
        Section(RATE),
        "How often it may be called, by all callers together",
    ),
    key(
        "approval",
        Truth,
        "Whether people have to agree to each call",
    ),
    key(
        "visible",
        Truth,
        "Whether it is listed; who knows its name can call it all the same",
    ),
    key("expose_in_openapi", Truth, "Onprest's word for `visible`"),
];

/// `rate_limit`.
pub(super) const RATE: &[Key] = &[
    key("requests", Whole, "So many calls"),
    key("per", Time, "In this time, such as `1m`"),
    key(
        "burst",
        Whole,
        "So many at once after a rest; `requests` where nothing is said",
    ),
];

/// One column.
pub(super) const COLUMN: &[Key] = &[
    key("type", Word(TYPES), "The type"),
    key(
        "items",
        Section(COLUMN_ITEMS),
        "What each value of an array is",
    ),
    key(
        "nullable",
        Truth,
        "Whether it can be null; true where nothing is said",
    ),
    key("description", Text, "What it is, for callers"),
];

/// The values of an array in a column.
pub(super) const COLUMN_ITEMS: &[Key] = &[key("type", Word(ITEM_TYPES), "The type")];

/// `annotations`.
pub(super) const ANNOTATIONS: &[Key] = &[
    key("read_only", Truth, "It changes nothing"),
    key("destructive", Truth, "It can destroy something"),
    key(
        "idempotent",
        Truth,
        "Calling it twice is like calling it once",
    ),
    key("open_world", Truth, "It reaches beyond the database"),
];

/// One example.
pub(super) const EXAMPLE: &[Key] = &[key("params", Any, "The parameters of the call")];

/// `reviewed`.
pub(super) const REVIEWED: &[Key] = &[
    key("by", Text, "Who"),
    key("on", Text, "When, as a date such as 2026-01-31"),
];
