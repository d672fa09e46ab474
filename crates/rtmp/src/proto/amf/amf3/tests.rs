//! Tests of the decoder.

use super::*;
use crate::proto::amf::{AmfLimits, object};
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Result<Value, AmfError> {
    let mut rest = bytes;
    let mut budget = Budget::new(AmfLimits::default(), bytes.len());
    let value = decode_value(&mut rest, &mut budget, 0)?;
    assert!(rest.is_empty(), "left over: {rest:02x?}");
    Ok(value)
}

#[test]
fn every_type_is_decoded() {
    let cases: [(&[u8], Value); 16] = [
        (&[0], Value::Undefined),
        (&[1], Value::Null),
        (&[2], Value::Boolean(false)),
        (&[3], Value::Boolean(true)),
        (&[4, 0x05], Value::Number(5.0)),
        (&[4, 0xFF, 0xFF, 0xFF, 0xFF], Value::Number(-1.0)),
        (&[4, 0xBF, 0xFF, 0xFF, 0xFF], Value::Number(268_435_455.0)),
        (&[5, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Value::Number(1.0)),
        (b"\x06\x09live", "live".into()),
        (b"\x0b\x09<a/>", "<a/>".into()),
        (&[8, 1, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Value::Date(1.0)),
        (
            &[9, 5, 1, 4, 1, 4, 2],
            Value::StrictArray(vec![1.0.into(), 2.0.into()]),
        ),
        (
            b"\x09\x01\x03a\x04\x01\x01",
            Value::EcmaArray(vec![("a".into(), 1.0.into())]),
        ),
        (
            // Anonymous and dynamic, as Flash writes a plain object.
            b"\x0a\x0b\x01\x07app\x06\x09live\x01",
            object([("app", "live".into())]),
        ),
        (
            // A class with one member.
            b"\x0a\x13\x03T\x03a\x04\x07",
            object([("a", 7.0.into())]),
        ),
        (
            b"\x0d\x05\x00\x00\x00\x00\x01\xff\xff\xff\xff",
            Value::StrictArray(vec![1.0.into(), (-1.0).into()]),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(bytes), Ok(expected), "{bytes:02x?}");
    }
}

#[test]
fn strings_traits_and_objects_are_found_by_reference() {
    // [{T: a="x"}, the same traits with the string "x" again, the first object again]
    let bytes = b"\x09\x07\x01\x0a\x13\x03T\x03a\x06\x03x\x0a\x01\x06\x04\x0a\x02";
    let item = object([("a", "x".into())]);
    assert_eq!(
        decode(bytes),
        Ok(Value::StrictArray(vec![item.clone(), item.clone(), item]))
    );
    for bytes in [&[6, 4][..], &[0x0A, 4], &[0x0A, 0x05]] {
        assert!(matches!(decode(bytes), Err(AmfError::BadReference(_))));
    }
}

#[test]
fn wrapped_collections_are_unwrapped() {
    let bytes = b"\x0a\x07\x43flex.messaging.io.ArrayCollection\x09\x03\x01\x04\x01";
    assert_eq!(decode(bytes), Ok(Value::StrictArray(vec![1.0.into()])));
    assert_eq!(decode(b"\x0a\x07\x03T\x01"), Err(AmfError::UnknownClass));
}

#[test]
fn nesting_and_number_of_values_are_limited() {
    let nested = [9, 3, 1].repeat(10_000);
    assert_eq!(decode(&nested), Err(AmfError::TooDeep { limit: 32 }));
    assert_eq!(
        decode(&[9, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        Err(AmfError::Truncated)
    );
    let limit = 4096;
    let mut many = vec![0x0D, 0xC0, 0x01, 0];
    many.extend([0; 40_000]);
    assert_eq!(decode(&many), Err(AmfError::TooManyValues { limit }));
    // An array that contains itself.
    assert_eq!(
        decode(&[9, 3, 1, 9, 0]),
        Err(AmfError::TooDeep { limit: 32 })
    );
}

#[test]
fn references_cannot_multiply_text() {
    // A string of 8 000 bytes, and an array that names it 1 000 times.
    let mut bytes = vec![9, 0x8F, 0x51, 1, 6, 0xFD, 0x01];
    bytes.extend([b'x'; 8000]);
    for _ in 0..1000 {
        bytes.extend([6, 0]);
    }
    assert!(matches!(decode(&bytes), Err(AmfError::TooMuchText { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut budget = Budget::new(AmfLimits::default(), bytes.len());
        let _ = decode_value(&mut &bytes[..], &mut budget, 0);
    }
}
