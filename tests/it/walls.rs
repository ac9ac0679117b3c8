//! Attacks that must not succeed, one file per wall.

mod secrets;
mod terminal;
