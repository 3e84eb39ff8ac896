//! Reading a signed head must not crash, and nothing that we did not sign may pass.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secondkey::core::audit::Head;

fuzz_target!(|note: &str| {
    assert!(Head::open(note, &[]).is_err());
});
