//! Values that the configuration contains as text.

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

/// Implements `Serialize` and `Deserialize` for a type with `#[serde(remote = "Self")]`, so that
/// its method `check` refuses inconsistent values. Use it for entries of a list only: the keys of a
/// section can come from different sources, and are complete only after all of them are read.
#[macro_export]
macro_rules! serde_checked {
    ($type:ty) => {
        impl $crate::serde::Serialize for $type {
            fn serialize<S>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error>
            where
                S: $crate::serde::Serializer,
            {
                // The function of the derive, which is no method of a trait.
                <$type>::serialize(self, serializer)
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
            where
                D: $crate::serde::Deserializer<'de>,
            {
                let value = <$type>::deserialize(deserializer)?;
                value.check().map_err($crate::serde::de::Error::custom)?;
                Ok(value)
            }
        }
    };
}
