//! `dagcache.lock`: which content the names of images mean.
//!
//! - [`mod@format`]: the file, read strictly and written whole. - [`pins`]: images for planning, from the lock, from what is
//!   remembered, or from an engine that is asked.
//!
//! Only `cargo dagcache lock` writes it. It is read from the snapshot, as every file of the project.
//! Stays free of engines: who answers is behind [`Resolve`].

pub(crate) mod format;
pub(crate) mod pins;

pub(crate) use format::{Lock, NAME};
pub(crate) use pins::{NoEngine, Pins, Resolve, Wishes, host_platform};
