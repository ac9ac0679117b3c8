//! The rules that keep verdicts true, by name. In a build with debug assertions each can be turned off with
//! `DAGCACHE_WITHOUT=NAME[,NAME…]`, to show that the test of a rule fails without it; in any other build they all hold,
//! and asking costs nothing.
//!
//! One line a rule. Its name says what holds; what it guards is told where [`Rule::holds`] is asked.
//! `tests/it/rules.rs` names a test of the real binary for each.

/// Declares the rules: variant = name.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal,)*) => {
        /// A rule that can be turned off in debug builds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// Its name in `DAGCACHE_WITHOUT`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    /// The change time of a file counts, not only its modification time and size.
    ChangeTime = "change-time",
}

impl Rule {
    /// Whether the rule is in force: always, unless debug assertions are on and it was turned off.
    #[must_use]
    #[inline]
    pub fn holds(self) -> bool {
        !cfg!(debug_assertions) || !off::names().iter().any(|name| name == self.name())
    }
}

mod off {
    use std::sync::OnceLock;

    /// The rules that were turned off.
    pub(super) fn names() -> &'static [String] {
        static NAMES: OnceLock<Vec<String>> = OnceLock::new();
        NAMES.get_or_init(|| {
            let names = std::env::var("DAGCACHE_WITHOUT").unwrap_or_default();
            names.split(',').map(str::to_owned).collect()
        })
    }
}
