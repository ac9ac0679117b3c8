//! The macro that [`keys`](super::keys) declares tables with.
//!
//! Knows no key.

/// Declares tables of the configuration. An entry is `/// DESCRIPTION`, `"NAME" FIELD: TYPE = VALUE, default TOML;`, where VALUE
/// is one of:
///
/// | VALUE | in the file |
/// |---|---|
/// | `flag` | `true` or `false` |
/// | `number` | a whole number, 1 or more |
/// | `text(f)`, `found(f)` | a string that `f` turns into the value; for `found`, looking at the snapshot |
/// | `word(words, f)` | one of these words |
/// | `texts(f)`, `globs` | strings, each accepted by `f`; patterns |
/// | `map(f)` | a string each under names accepted by `f` |
/// | `table(T)` | another of these tables |
/// | `by(f, kind)` | whatever `f` reads from the table around it |
macro_rules! tables {
    ($(
        $(#[doc = $of_table:literal])+
        $table:ident $(with $extra:ident: $extra_type:ty)? {
            $(
                $(#[doc = $about:literal])+
                $name:literal $field:ident: $type:ty
                    = $kind:ident $(($($arg:tt)*))? $(, default $default:literal)?;
            )*
        }
    )*) => {$(
        $(#[doc = $of_table])+
        #[derive(Debug, Clone, PartialEq, Default)]
        pub(crate) struct $table {
            $(
                /// The place of the table.
                pub(crate) $extra: $extra_type,
            )?
            $(
                $(#[doc = $about])+
                pub(crate) $field: $type,
            )*
        }

        impl $table {
            /// Its keys.
            pub(super) const KEYS: &[Key] = &[$(
                Key {
                    name: $name,
                    kind: $crate::config::tables::tables!(@kind $kind $(($($arg)*))?),
                    default: $crate::config::tables::tables!(@default $($default)?),
                    about: concat!($($about),+),
                }
            ),*];

            /// Reads the table `name`, the whole configuration if that is empty.
            pub(super) fn read(
                reader: &mut $crate::config::read::Reader<'_>,
                table: &toml::de::DeTable<'_>,
                name: &str,
            ) -> Self {
                reader.known_keys(table, name, Self::KEYS);
                Self {
                    $($extra: Default::default(),)?
                    $(
                        $field: $crate::config::tables::Field::of(
                            $crate::config::tables::tables!(
                                @read reader table name $name $kind $(($($arg)*))?
                            ),
                        ),
                    )*
                }
            }
        }
    )*};

    (@default) => { None };
    (@default $default:literal) => { Some($default) };

    (@kind flag) => { Kind::Flag };
    (@kind number) => { Kind::Number };
    (@kind text($parse:expr)) => { Kind::Text };
    (@kind found($parse:expr)) => { Kind::Text };
    (@kind word($words:expr, $parse:expr)) => { Kind::Word($words) };
    (@kind texts($check:expr)) => { Kind::Texts };
    (@kind globs) => { Kind::Texts };
    (@kind map($check:expr)) => { Kind::TextMap };
    (@kind table($table:ident)) => { Kind::Table($table::KEYS) };
    (@kind by($read:expr, $kind:expr)) => { $kind };

    (@read $reader:ident $table:ident $name:ident $key:literal flag) => {
        $reader.flag($table, $key)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal number) => {
        $reader.number($table, $key)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal text($parse:expr)) => {
        $reader.parsed($table, $key, |_, text| $parse(text))
    };
    (@read $reader:ident $table:ident $name:ident $key:literal found($parse:expr)) => {
        $reader.parsed($table, $key, $parse)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal word($words:expr, $parse:expr)) => {
        $reader.parsed($table, $key, |_, text| $parse(text))
    };
    (@read $reader:ident $table:ident $name:ident $key:literal texts($check:expr)) => {
        $reader.texts($table, $key, |text| $check(text).map(drop))
    };
    (@read $reader:ident $table:ident $name:ident $key:literal globs) => {
        $reader.globs($table, $key)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal map($check:expr)) => {
        $reader.text_map($table, $key, $check)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal table($inner:ident)) => {{
        let full = match $name {
            "" => $key.to_owned(),
            name => format!("{name}.{}", $key),
        };
        let inner = $reader.any_table($table, $key);
        inner.map(|inner| $inner::read($reader, inner, &full))
    }};
    (@read $reader:ident $table:ident $name:ident $key:literal by($read:expr, $kind:expr)) => {
        $read($reader, $table)
    };
}
pub(super) use tables;

/// The value of a field, whether its key was set or not.
pub(super) trait Field<T> {
    /// The value for what was read.
    fn of(read: Option<T>) -> Self;
}

impl<T> Field<T> for Option<T> {
    fn of(read: Option<T>) -> Self {
        read
    }
}

impl<T: Default> Field<T> for T {
    fn of(read: Option<T>) -> Self {
        read.unwrap_or_default()
    }
}
