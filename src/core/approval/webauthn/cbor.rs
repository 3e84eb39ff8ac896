//! As much CBOR (RFC 8949) as authenticators write: the deterministic subset of CTAP2 §8, in which
//! each value has a definite length and the shortest head.

use super::WebAuthnError;

/// How deep extensions may nest; CTAP2 allows 4.
const DEEPEST: u8 = 4;
const BROKEN: WebAuthnError = WebAuthnError::AuthenticatorData("the CBOR is broken");

/// Reads from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// The first part of a value: its major type and argument (RFC 8949 §3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Head {
    Unsigned(u64),
    Negative(u64),
    Bytes(u64),
    Text(u64),
    Array(u64),
    Map(u64),
    Simple(u64),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// A map: how many pairs follow.
    pub(super) fn map(&mut self) -> Result<u64, WebAuthnError> {
        let Head::Map(pairs) = self.head()? else {
            return Err(BROKEN);
        };
        Ok(pairs)
    }

    /// A small integer.
    pub(super) fn integer(&mut self) -> Result<i64, WebAuthnError> {
        let head = self.head()?;
        let (Head::Unsigned(value) | Head::Negative(value)) = head else {
            return Err(BROKEN);
        };
        let value = i64::try_from(value).map_err(|_| BROKEN)?;
        let negative = matches!(head, Head::Negative(_));
        Ok(if negative { -1 - value } else { value })
    }

    /// A byte string.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WebAuthnError> {
        let Head::Bytes(length) = self.head()? else {
            return Err(BROKEN);
        };
        self.take(length)
    }

    /// Passes over one value.
    pub(super) fn skip(&mut self) -> Result<(), WebAuthnError> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: u8) -> Result<(), WebAuthnError> {
        if depth > DEEPEST {
            return Err(BROKEN);
        }
        let values = match self.head()? {
            Head::Unsigned(_) | Head::Negative(_) | Head::Simple(_) => 0,
            Head::Bytes(length) => self.take(length).map(|_| 0)?,
            Head::Text(length) => {
                let text = self.take(length)?;
                std::str::from_utf8(text).map_err(|_| BROKEN).map(|_| 0)?
            }
            Head::Array(values) => values,
            Head::Map(pairs) => pairs.checked_mul(2).ok_or(BROKEN)?,
        };
        // Each value takes a byte at least, so a count beyond the end stops there.
        for _ in 0..values {
            self.skip_at(depth + 1)?;
        }
        Ok(())
    }

    fn head(&mut self) -> Result<Head, WebAuthnError> {
        let [first] = self.array()?;
        let argument = match first & 0x1f {
            small @ 0..24 => u64::from(small),
            24 => self
                .array()
                .map(|[b]: [u8; 1]| u64::from(b))
                .and_then(at_least(24))?,
            25 => self
                .array()
                .map(|b| u64::from(u16::from_be_bytes(b)))
                .and_then(at_least(1 << 8))?,
            26 => self
                .array()
                .map(|b| u64::from(u32::from_be_bytes(b)))
                .and_then(at_least(1 << 16))?,
            27 => self
                .array()
                .map(u64::from_be_bytes)
                .and_then(at_least(1 << 32))?,
            _ => return Err(BROKEN),
        };
        Ok(match first >> 5 {
            0 => Head::Unsigned(argument),
            1 => Head::Negative(argument),
            2 => Head::Bytes(argument),
            3 => Head::Text(argument),
            4 => Head::Array(argument),
            5 => Head::Map(argument),
            // false, true, null and undefined; tags and floats are not written by authenticators.
            7 if (20..24).contains(&argument) => Head::Simple(argument),
            _ => return Err(BROKEN),
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WebAuthnError> {
        let length = usize::try_from(length).map_err(|_| BROKEN)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BROKEN)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WebAuthnError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(BROKEN)?;
        self.0 = rest;
        Ok(*first)
    }
}

/// A longer head than needed is not deterministic CBOR.
fn at_least(least: u64) -> impl Fn(u64) -> Result<u64, WebAuthnError> {
    move |value| {
        if value >= least {
            Ok(value)
        } else {
            Err(BROKEN)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skipped(hex: &str) -> Result<usize, WebAuthnError> {
        let bytes = hex::decode(hex).unwrap();
        let mut reader = Reader::new(&bytes);
        reader.skip().map(|()| reader.rest().len())
    }

    /// Examples of RFC 8949, appendix A.
    #[test]
    fn one_value_is_passed_over() {
        assert_eq!(skipped("1864"), Ok(0));
        assert_eq!(skipped("1b000000e8d4a51000"), Ok(0));
        assert_eq!(skipped("6449455446ff"), Ok(1));
        assert_eq!(skipped("a201020304"), Ok(0));
        assert_eq!(skipped("a26161016162820203"), Ok(0));
        assert_eq!(skipped("f5"), Ok(0));
    }

    #[test]
    fn what_is_broken_indefinite_or_too_deep_is_refused() {
        for bad in [
            "",
            "18",
            "1817",
            "190001",
            "44ffff",
            "9fff",
            "a1",
            "61ff",
            "c000",
            "fb00",
            "f7f7",
            "9bffffffffffffffff",
            "bbffffffffffffffff",
            "818181818180",
        ] {
            let result = skipped(bad);
            assert!(result.is_err() || result == Ok(1), "{bad}");
        }
        assert!(skipped("818181818180").is_err());
    }

    #[test]
    fn integers_have_both_signs() {
        let read = |hex: &str| Reader::new(&hex::decode(hex).unwrap()).integer();
        assert_eq!(
            (read("26"), read("07"), read("38ff")),
            (Ok(-7), Ok(7), Ok(-256))
        );
        assert!(read("3bffffffffffffffff").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_crash_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            if reader.skip().is_ok() {
                prop_assert!(reader.rest().len() < bytes.len());
            }
        }
    }
}
