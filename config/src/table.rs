//! Declares the keys of a mapping once: the struct, its reader and its JSON Schema come from the same lines, so that
//! none can know a key, a default or a sentence that the others do not.
//!
//! ```text
//! settings! {
//!     /// What the mapping is; the text becomes its description in the schema.
//!     pub struct Health {
//!         /// What the key means, and what follows from it.
//!         interval: Duration as Span<{ MILLISECOND }, { HOUR }>, default("5s");
//!         /// `required` tells when the key is missing; `optional` makes the field an `Option`.
//!         path: String as UrlPath, required;
//!     }
//! }
//! ```
//!
//! After the name, `one_of(Required) [a, b]` says that exactly one of the keys is there, `one_of(Optional)` that at
//! most one is.

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:ident),+)])?
        pub struct $name:ident $(one_of($need:ident) [$($alternative:literal),+])? {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident: $value:ty as $setting:ty, $how:ident $(($default:literal))?;
            )+
        }
    )+) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq $($(, $derive)+)?)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])*
                pub $field: $value,
            )+
        }

        impl $crate::reader::Setting for $name {
            type Value = $name;

            fn read(node: &$crate::tree::Node, reader: &mut $crate::reader::Reader<'_>) -> Option<$name> {
                let mut fields = reader.fields(node, &[$(stringify!($field)),+])?;
                $(fields.one_of($crate::reader::Need::$need, &[$($alternative),+]);)?
                Some($name { $($field: settings!(@read fields, $field, $setting, $how $($default)?),)+ })
            }

            fn blank() -> $name {
                $name { $($field: settings!(@blank $setting, $how $($default)?),)+ }
            }

            fn schema(schemas: &mut $crate::schema::Schemas) -> serde_json::Value {
                schemas.mapping(stringify!($name), concat!($($doc, "\n",)* ""), |schemas, mapping| {
                    $({
                        let schema = <$setting as $crate::reader::Setting>::schema(schemas);
                        let presence = settings!(@presence $how $($default)?);
                        mapping.key(stringify!($field), concat!($($field_doc, "\n",)* ""), presence, schema);
                    })+
                    $(mapping.one_of($crate::reader::Need::$need, &[$($alternative),+]);)?
                })
            }
        }
    )+};

    (@read $fields:ident, $field:ident, $setting:ty, required) => { $fields.required::<$setting>(stringify!($field)) };
    (@read $fields:ident, $field:ident, $setting:ty, optional) => { $fields.optional::<$setting>(stringify!($field)) };
    (@read $fields:ident, $field:ident, $setting:ty, default $default:literal) => {
        $fields.or_default::<$setting>(stringify!($field), $default)
    };

    (@blank $setting:ty, required) => { <$setting as $crate::reader::Setting>::blank() };
    (@blank $setting:ty, optional) => { None };
    (@blank $setting:ty, default $default:literal) => { $crate::reader::default_of::<$setting>($default) };

    (@presence required) => { $crate::schema::Presence::Required };
    (@presence optional) => { $crate::schema::Presence::Optional };
    (@presence default $default:literal) => { $crate::schema::Presence::Default($default) };
}

/// Declares a closed choice of words: the enum, its reader and its JSON Schema.
macro_rules! choices {
    ($(
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $( $(#[doc = $choice_doc:literal])* $choice:ident = $word:literal, )+
        }
    )+) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $choice_doc])* $choice, )+
        }

        impl $name {
            /// The word an operator writes for it.
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$choice => $word,)+
                }
            }
        }

        impl $crate::reader::Setting for $name {
            type Value = $name;

            fn read(node: &$crate::tree::Node, reader: &mut $crate::reader::Reader<'_>) -> Option<$name> {
                match $crate::setting::choose(node, reader, &[$($word),+])? {
                    $($word => Some($name::$choice),)+
                    _ => None,
                }
            }

            fn blank() -> $name {
                [$($name::$choice),+][0]
            }

            fn schema(schemas: &mut $crate::schema::Schemas) -> serde_json::Value {
                let words = [$(($word, concat!($($choice_doc, "\n",)* ""))),+];
                schemas.choice(stringify!($name), concat!($($doc, "\n",)* ""), &words)
            }
        }
    )+};
}

pub(crate) use {choices, settings};
