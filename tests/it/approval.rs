//! Approvals and the trust file, held against stock OpenSSH, and from a key's enrolment to its vote.

mod enrolment;
mod keygen;
mod openssh;
mod rig;
