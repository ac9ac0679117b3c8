//! `dagcache.lock`: which content image names refer to.
//!
//! - [`mod@format`]: the file, parsed strictly and written as a whole.
//! - [`pins`]: images for planning, from the lock, from the memo, or from the engine.
//!
//! Only `cargo dagcache lock` writes it. It is read from the snapshot like every project file. Knows no engines: they
//! implement [`Resolve`].

pub(crate) mod format;
pub(crate) mod pins;

pub(crate) use format::{Lock, NAME};
pub(crate) use pins::{NoAnswer, NoEngine, Pins, Resolve, Wishes, host_platform};
