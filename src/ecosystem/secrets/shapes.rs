//! Shapes that are more than a run of letters of some length: each gets the text and the place of a literal, and
//! returns the place of the secret.
//!
//! - [`private_keys`], [`web_tokens`], [`curl`]: what many vendors have in common.
//! - [`plain`]: a run of letters after all, for the rules and for these.
//! - [`vendors`]: one function for each vendor.

pub(super) mod curl;
pub(super) mod plain;
pub(super) mod private_keys;
pub(super) mod vendors;
pub(super) mod web_tokens;
