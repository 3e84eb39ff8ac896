//! Sizes and times as people write them: `256KiB`, `30s`.

/// Bytes, from `65536`, `64KiB`, `2MiB`, `64kB` or `2MB`.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1_024,
        "MB" => 1_000_000,
        "MiB" => 1_048_576,
        "GB" => 1_000_000_000,
        "GiB" => 1_073_741_824,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Milliseconds, from `500ms`, `30s` or `2m`. A bare number is refused: nobody can tell its unit.
pub fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        assert_eq!(bytes("65536"), Some(65_536));
        assert_eq!(bytes("256KiB"), Some(262_144));
        assert_eq!(bytes("2 MB"), Some(2_000_000));
        assert_eq!(bytes("64k"), None);
        assert_eq!(bytes("-1"), None);
        assert_eq!(bytes("99999999999999999999MiB"), None);
    }

    #[test]
    fn a_time_needs_a_unit() {
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("30s"), Some(30_000));
        assert_eq!(milliseconds("2m"), Some(120_000));
        assert_eq!(milliseconds("30"), None);
        assert_eq!(milliseconds("1.5s"), None);
    }
}
