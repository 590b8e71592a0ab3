//! Enums each of whose values has one name, in the status as in metrics and code. No enum lives here.

/// An enum with the names of its values: read and written as these, and listed in [`ALL`](Self::ALL).
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $enum:ident { $($(#[$of_value:meta])* $value:ident = $name:tt,)+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $enum {
            $($(#[$of_value])* #[serde(rename = $name)] $value,)+
        }

        impl $enum {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The value as it is written in the status.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named;
