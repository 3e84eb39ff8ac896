//! The nearest names, when a caller uses one that is not there.

/// Names listed at most.
const LISTED: usize = 12;

/// The hint for a name that is not among those there are. `what` is `tables` or `columns`.
pub(super) fn hint(unknown: &str, there: &[String], what: &str) -> String {
    let bare = unknown
        .rsplit('.')
        .next()
        .unwrap_or(unknown)
        .to_ascii_lowercase();
    let mut near: Vec<(usize, &String)> = there
        .iter()
        .map(|name| (distance(&bare, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= 1 + bare.chars().count() / 3)
        .collect();
    near.sort();
    let list = |names: Vec<&str>| names.join(", ");
    if near.is_empty() {
        if there.is_empty() {
            return format!("no {what} could be found; list_tables shows what is there");
        }
        let first = there.iter().take(LISTED).map(String::as_str).collect();
        let more = if there.len() > LISTED { ", ..." } else { "" };
        return format!("the {what} there are: {}{more}", list(first));
    }
    format!(
        "did you mean {}?",
        list(near.iter().take(3).map(|(_, name)| name.as_str()).collect())
    )
}

/// How many letters have to be changed, added or left out to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut current = vec![i + 1];
        for (pair, b) in previous.windows(2).zip(&to) {
            let [diagonal, above] = pair else { continue };
            let left = current.last().copied().unwrap_or_default();
            let changed = diagonal + usize::from(a != *b);
            current.push(changed.min(above + 1).min(left + 1));
        }
        previous = current;
    }
    previous.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let there = ["orders", "users", "user_roles"].map(String::from);
        assert_eq!(hint("main.user", &there, "tables"), "did you mean users?");
        assert_eq!(
            hint("zzz", &there, "tables"),
            "the tables there are: orders, users, user_roles"
        );
    }
}
