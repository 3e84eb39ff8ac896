//! The wire encoding of SSH: bytes, 32-bit numbers and strings with a length in front (RFC 4251 §5).

use super::SshSigError;

/// Reads from the front; every length is checked against what is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SshSigError> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .ok_or(SshSigError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SshSigError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, SshSigError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], SshSigError> {
        let too_long = SshSigError::Malformed("a length goes beyond the end");
        let length = usize::try_from(self.u32()?).map_err(|_| too_long)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(too_long)?;
        self.0 = rest;
        Ok(string)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, SshSigError> {
        std::str::from_utf8(self.string()?).map_err(|_| SshSigError::Malformed("text is not UTF-8"))
    }

    /// A number of at most 256 bits, written as short as it can be (RFC 4251 §5, `mpint`), and
    /// not zero.
    pub(super) fn scalar(&mut self) -> Result<[u8; 32], SshSigError> {
        let bad = SshSigError::Malformed("a number is not positive, not minimal or too large");
        let digits = match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 128) => rest,
            [0 | 128..=255, ..] => return Err(bad),
            digits => digits,
        };
        let mut scalar = [0; 32];
        let padding = scalar.len().checked_sub(digits.len()).ok_or(bad)?;
        for (to, from) in scalar.iter_mut().skip(padding).zip(digits) {
            *to = *from;
        }
        Ok(scalar)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), SshSigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(SshSigError::Malformed("there are bytes after its end"))
        }
    }
}

/// Appends a string: its length in 4 bytes, and itself. The callers' strings are far below 4 GiB.
pub(super) fn put(out: &mut Vec<u8>, string: &[u8]) {
    let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(string);
}

/// Appends a positive number as an `mpint`.
pub(super) fn put_scalar(out: &mut Vec<u8>, scalar: &[u8]) {
    let digits: Vec<u8> = scalar.iter().copied().skip_while(|b| *b == 0).collect();
    let mut number = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_some_and(|first| *first >= 128) {
        number.push(0);
    }
    number.extend_from_slice(&digits);
    put(out, &number);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_one_encoding() {
        let read = |number: &[u8]| {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            Reader::new(&bytes).scalar()
        };
        assert!(read(&[1]).is_ok());
        assert!(read(&[0, 200]).is_ok());
        assert!(read(&[0; 1]).is_err());
        assert!(read(&[0, 1]).is_err(), "a zero too many");
        assert!(read(&[200]).is_err(), "negative");
        assert!(read(&[1; 33]).is_err(), "too large");
        assert_eq!(read(&[]), Ok([0; 32]), "zero, which no signature holds");
    }

    proptest! {
        #[test]
        fn numbers_survive_being_written_and_read(number: [u8; 32], zeros in 0..32_usize) {
            let mut number = number;
            number.iter_mut().take(zeros).for_each(|b| *b = 0);
            let mut bytes = Vec::new();
            put_scalar(&mut bytes, &number);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.scalar(), Ok(number));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
