//! Times as Go writes them (`time.ParseDuration`): `4s`, `1m30s`, `1.5s`.

/// Milliseconds of a positive time of at least one millisecond; a rest below one is dropped.
pub fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(part(number, unit)?)?;
        rest = after;
    }
    let milliseconds = u64::try_from(nanoseconds / 1_000_000).ok()?;
    (milliseconds > 0).then_some(milliseconds)
}

/// `number`, which may have a fraction, times `unit`.
fn part(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 || whole.len() > 18 {
        return None;
    }
    let digits = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<u128>().ok(),
    };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = digits(fraction)?.checked_mul(unit)? / scale;
    digits(whole)?.checked_mul(unit)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn it_reads_what_go_reads() {
        for (text, ms) in [
            ("4s", 4_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1h", 3_600_000),
            ("1500us", 1),
        ] {
            assert_eq!(duration(text), Some(ms), "{text}");
        }
        for bad in [
            "",
            "0s",
            "-1s",
            "5",
            "s",
            ".s",
            "1d",
            "1.2.3s",
            "1us",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
