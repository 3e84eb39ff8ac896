//! The names nearest to one that does not exist.

/// Up to three of `names` that are near `wanted`, nearest first.
pub(super) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let limit = (wanted.chars().count() / 3).clamp(1, 4);
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let contains = lower.len() > 2
                && wanted.len() > 2
                && (lower.contains(&wanted) || wanted.contains(&lower));
            let steps = distance(&wanted, &lower);
            (steps <= limit || contains).then_some((steps, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// A hint that names the nearest, or says where to look.
pub(super) fn hint(names: &[&str], otherwise: &str) -> String {
    match names {
        [] => otherwise.to_owned(),
        names => format!("did you mean `{}`?", names.join("`, `")),
    }
}

/// How many letters have to be added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let here = (diagonal + usize::from(x != *y))
                .min(left + 1)
                .min(above + 1);
            diagonal = *above;
            left = here;
            next.push(here);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_first_and_far_ones_not_at_all() {
        let names = ["users", "orders", "secrets"];
        assert_eq!(nearest("user", names.into_iter()), ["users"]);
        assert_eq!(nearest("oders", names.into_iter()), ["orders"]);
        assert!(nearest("zebra", names.into_iter()).is_empty());
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
