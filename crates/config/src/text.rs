//! Values that the configuration has as text.

/// Implements `Serialize` and `Deserialize` for types as the text of their `Display` and `FromStr`.
#[macro_export]
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl $crate::serde::Serialize for $type {
            fn serialize<S>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error>
            where
                S: $crate::serde::Serializer,
            {
                serializer.collect_str(self)
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
            where
                D: $crate::serde::Deserializer<'de>,
            {
                let text: ::std::string::String =
                    $crate::serde::Deserialize::deserialize(deserializer)?;
                text.parse().map_err($crate::serde::de::Error::custom)
            }
        }
    )*};
}
