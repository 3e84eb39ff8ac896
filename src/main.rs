//! The `secondkey` binary.

fn main() {}
