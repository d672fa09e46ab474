//! Tests of the decoder and the encoder.

use super::*;
use crate::proto::amf::object;
use proptest::prelude::*;

fn all(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
    decode_all(bytes, AmfLimits::default())
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    out.to_vec()
}

#[test]
fn every_type_is_decoded() {
    let cases: [(&[u8], Value); 14] = [
        (&[0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Value::Number(1.0)),
        (&[1, 1], Value::Boolean(true)),
        (&[1, 0], Value::Boolean(false)),
        (b"\x02\x00\x04live", "live".into()),
        (
            b"\x03\x00\x03app\x02\x00\x04live\x00\x00\x09",
            object([("app", "live".into())]),
        ),
        (&[5], Value::Null),
        (&[6], Value::Undefined),
        (
            b"\x08\x00\x00\x00\x01\x00\x03fps\x00\x40\x3e\x00\x00\x00\x00\x00\x00\x00\x00\x09",
            Value::EcmaArray(vec![("fps".into(), Value::Number(30.0))]),
        ),
        (
            b"\x0a\x00\x00\x00\x02\x05\x01\x01",
            Value::StrictArray(vec![Value::Null, Value::Boolean(true)]),
        ),
        (
            &[0x0B, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0],
            Value::Date(1.0),
        ),
        (b"\x0c\x00\x00\x00\x02hi", "hi".into()),
        (&[0x0D], Value::Undefined),
        (b"\x0f\x00\x00\x00\x04<a/>", "<a/>".into()),
        (
            b"\x10\x00\x01T\x00\x01a\x05\x00\x00\x09",
            object([("a", Value::Null)]),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(all(bytes), Ok(vec![expected]), "{bytes:02x?}");
    }
}

#[test]
fn reference_is_replaced_by_its_object() {
    // Two equal objects, the second one as a reference to the first.
    let bytes = b"\x03\x00\x01a\x03\x00\x01b\x05\x00\x00\x09\x00\x00\x09\x07\x00\x01";
    let inner = object([("b", Value::Null)]);
    assert_eq!(all(bytes), Ok(vec![object([("a", inner.clone())]), inner]));
    assert_eq!(all(&[7, 0, 0]), Err(AmfError::BadReference(0)));
}

#[test]
fn missing_end_marker_at_the_end_of_a_message_is_accepted() {
    assert_eq!(
        all(b"\x03\x00\x01a\x05"),
        Ok(vec![object([("a", Value::Null)])])
    );
}

#[test]
fn truncated_values_are_errors() {
    let whole = b"\x03\x00\x03app\x02\x00\x04live\x00\x01b\x0a\x00\x00\x00\x01\x05\x00\x00\x09";
    assert!(all(whole).is_ok());
    for len in [1, 2, 5, 7, 10, 14, 17, 20, 23] {
        assert_eq!(all(&whole[..len]), Err(AmfError::Truncated), "{len}");
    }
}

#[test]
fn unknown_markers_are_errors() {
    for marker in [0x04, 0x09, 0x0E, 0x12, 0xFF] {
        assert_eq!(all(&[marker]), Err(AmfError::UnknownMarker(marker)));
    }
}

#[test]
fn nesting_is_bounded() {
    let arrays = [0x0A, 0, 0, 0, 1].repeat(100_000);
    assert_eq!(all(&arrays), Err(AmfError::TooDeep { limit: 32 }));
    let objects = [3, 0, 1, b'a'].repeat(100_000);
    assert_eq!(all(&objects), Err(AmfError::TooDeep { limit: 32 }));
}

#[test]
fn wrong_counts_cost_nothing() {
    assert_eq!(
        all(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF]),
        Err(AmfError::Truncated)
    );
    assert_eq!(
        all(&[8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 9]),
        Ok(vec![Value::EcmaArray(vec![])])
    );
}

#[test]
fn number_of_values_is_limited() {
    let mut bytes = vec![0x0A, 0, 1, 0, 0];
    bytes.extend([5; 0x10000]);
    assert_eq!(all(&bytes), Err(AmfError::TooManyValues { limit: 4096 }));
    assert_eq!(
        all(&[5; 4097]),
        Err(AmfError::TooManyValues { limit: 4096 })
    );
}

#[test]
fn references_cannot_multiply_values_beyond_the_limit() {
    // Arrays of two references to the array before: 2^n values if they were unfolded.
    let mut bytes = vec![0x0A, 0, 0, 0, 2, 5, 5];
    for n in 0..30 {
        bytes.extend([0x0A, 0, 0, 0, 2, 7, 0, n, 7, 0, n]);
    }
    assert_eq!(all(&bytes), Err(AmfError::TooManyValues { limit: 738 }));
    // An array that contains itself.
    assert_eq!(
        all(&[0x0A, 0, 0, 0, 1, 7, 0, 0]),
        Err(AmfError::TooDeep { limit: 32 })
    );
}

#[test]
fn decoded_values_are_limited_by_the_length_of_the_message() {
    // An array of 20 nulls and 25 references to it, in 105 bytes: 500 values.
    let mut bytes = vec![0x0A, 0, 0, 0, 20];
    bytes.extend([5; 20]);
    bytes.extend([7, 0, 0].repeat(25));
    let decoded = decode(&bytes, AmfLimits::default());
    assert!(matches!(
        decoded.error,
        Some(AmfError::TooManyValues { .. })
    ));
    assert!(decoded.cost <= 400 * bytes.len(), "{}", decoded.cost);
    // One reference of this kind is what a client may well send.
    assert_eq!(all(&bytes[..28]).map(|values| values.len()), Ok(2));
}

#[test]
fn values_before_an_error_are_kept() {
    let decoded = decode(b"\x02\x00\x01a\x05\x00", AmfLimits::default());
    assert_eq!(decoded.values, ["a".into(), Value::Null]);
    assert_eq!(decoded.error, Some(AmfError::Truncated));
}

#[test]
fn references_cannot_multiply_text() {
    // An array of one string of 60 000 bytes, then 1 000 references to it.
    let mut bytes = vec![0x0A, 0, 0, 0, 1, 0x0C, 0, 0, 0xEA, 0x60];
    bytes.extend([b'x'; 60_000]);
    bytes.extend([7, 0, 0].repeat(1000));
    assert!(matches!(all(&bytes), Err(AmfError::TooMuchText { .. })));
}

#[test]
fn value_may_switch_to_amf3() {
    assert_eq!(
        all(b"\x02\x00\x01a\x11\x06\x03b\x05"),
        Ok(vec!["a".into(), "b".into(), Value::Null])
    );
}

#[test]
fn long_strings_use_the_long_form() {
    let long = Value::String("x".repeat(70_000));
    let bytes = encoded(&long);
    assert_eq!(bytes[..5], [0x0C, 0, 1, 0x11, 0x70]);
    assert_eq!(all(&bytes), Ok(vec![long]));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        prop::num::f64::NORMAL.prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::String),
        prop::num::f64::NORMAL.prop_map(Value::Date),
        Just(Value::Null),
        Just(Value::Undefined),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let members = prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..5);
        prop_oneof![
            members.clone().prop_map(Value::Object),
            members.prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..5).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn values_survive_encoding_and_decoding(value in values()) {
        prop_assert_eq!(all(&encoded(&value)), Ok(vec![value]));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = all(&bytes);
    }
}
