//! YAML: `yaml:yamllint`.

pub mod yamllint;
