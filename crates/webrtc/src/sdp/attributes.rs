//! The attributes of a section.

use ::sdp::description::common::Attribute;

/// Returns the values of the attributes with this key.
pub(super) fn values_of<'a>(
    attributes: &'a [Attribute],
    key: &'a str,
) -> impl Iterator<Item = &'a str> {
    let of_key = attributes
        .iter()
        .filter(move |attribute| attribute.key == key);
    of_key.filter_map(|attribute| attribute.value.as_deref())
}

/// Returns the value of the first attribute with this key.
pub(super) fn value_of<'a>(attributes: &'a [Attribute], key: &'a str) -> Option<&'a str> {
    values_of(attributes, key).next()
}
