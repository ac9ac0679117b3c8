//! Behaviour of the real binary, and rules about the source itself. One file per subject; `support` holds the means.

mod fresh;
mod hits;
mod misses;
mod support;
mod tidy;
