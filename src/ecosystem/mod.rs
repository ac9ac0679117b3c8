//! The catalogue: what every ecosystem offers (how it is recognised, its checks and layers, its tools' output).
//!
//! To add one: copy the smallest file, add one line to the catalogue.
