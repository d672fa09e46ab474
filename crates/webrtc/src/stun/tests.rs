//! Reader and writer against the vectors of RFC 5769, against each other, and against malice.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::layout::MAGIC_COOKIE;
use super::*;

/// RFC 5769 section 2: the password of all three messages.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

const TRANSACTION: TransactionId = TransactionId([
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
]);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// RFC 5769 section 2.1.
fn sample_request() -> Vec<u8> {
    hex("000100582112a442b7e7a701bc34d686fa87dfae
         802200105354554e207465737420636c69656e74
         002400046e0001ff
         80290008932ff9b151263b36
         000600096576746a3a68367659202020
         000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
         80280004e57a3bcf")
}

/// RFC 5769 section 2.2.
fn sample_ipv4_response() -> Vec<u8> {
    hex("0101003c2112a442b7e7a701bc34d686fa87dfae
         8022000b7465737420766563746f7220
         002000080001a147e112a643
         000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7
         80280004c07d4c96")
}

/// RFC 5769 section 2.3.
fn sample_ipv6_response() -> Vec<u8> {
    hex("010100482112a442b7e7a701bc34d686fa87dfae
         8022000b7465737420766563746f7220
         002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
         00080014a382954e4be67bf11784c97c8292c275bfe3ed41
         80280004c8fb0b4c")
}

#[test]
fn sample_request_of_rfc_5769_is_read() {
    let datagram = sample_request();
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.method, Method::BINDING);
    assert_eq!(message.transaction, TRANSACTION);
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(
        message.ice_role,
        Some(IceRole::Controlled(0x932f_f9b1_5126_3b36))
    );
    assert!(!message.use_candidate);
    assert!(message.has_fingerprint);
    assert!(message.unknown_attributes.is_empty());
    assert!(message.verify_integrity(PASSWORD));
    assert!(!message.verify_integrity(b"VOkJxbRl1RmTxUk/WvJxBT"));
    assert_eq!(local_ufrag(&datagram), Some("evtj"));
}

#[test]
fn sample_responses_of_rfc_5769_are_read() {
    let rows = [
        (sample_ipv4_response(), "192.0.2.1:32853"),
        (
            sample_ipv6_response(),
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
        ),
    ];
    for (datagram, address) in rows {
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.transaction, TRANSACTION);
        assert_eq!(message.xor_mapped_address, Some(address.parse().unwrap()));
        assert!(message.has_fingerprint);
        assert!(message.verify_integrity(PASSWORD));
        assert_eq!(local_ufrag(&datagram), None, "only requests name a session");
    }
}

/// The samples carry a SOFTWARE attribute, which is never written here, so its bytes cannot be met;
/// the value of each other attribute can.
#[test]
fn addresses_are_written_as_in_rfc_5769() {
    let rows = [
        ("192.0.2.1:32853", "002000080001a147e112a643"),
        ("[::ffff:192.0.2.1]:32853", "002000080001a147e112a643"),
        (
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
            "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
        ),
    ];
    for (address, expected) in rows {
        let mut buffer = Vec::new();
        MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TRANSACTION)
            .xor_mapped_address(address.parse().unwrap())
            .finish();
        let expected = hex(expected);
        assert_eq!(&buffer[20..20 + expected.len()], expected);
    }
}

#[test]
fn every_attribute_that_is_written_is_read_again() {
    let mut buffer = b"left over from before".to_vec();
    MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TRANSACTION)
        .username("abc:defgh")
        .priority(1)
        .ice_role(IceRole::Controlling(2))
        .use_candidate()
        .message_integrity(PASSWORD)
        .finish();
    let message = Message::parse(&buffer).unwrap();
    assert_eq!(message.username, Some("abc:defgh"));
    assert_eq!(message.priority, Some(1));
    assert_eq!(message.ice_role, Some(IceRole::Controlling(2)));
    assert!(message.use_candidate);
    assert!(message.has_fingerprint);
    assert!(message.verify_integrity(PASSWORD));
    assert_eq!(local_ufrag(&buffer), Some("abc"));
}

#[test]
fn error_response_carries_code_and_unknown_attributes() {
    let mut unknown = UnknownAttributes::default();
    unknown.push(AttributeType(0x0003));
    unknown.push(AttributeType(0x7fff));
    let mut buffer = Vec::new();
    MessageWriter::new(&mut buffer, Class::Error, Method::BINDING, TRANSACTION)
        .error_code(ErrorCode::UNKNOWN_ATTRIBUTE)
        .unknown_attributes(&unknown)
        .finish();
    let message = Message::parse(&buffer).unwrap();
    assert_eq!(message.class, Class::Error);
    assert_eq!(message.error_code, Some(ErrorCode::UNKNOWN_ATTRIBUTE));
    let listed = hex("000a000400037fff");
    assert!(buffer.windows(listed.len()).any(|bytes| bytes == listed));
}

#[test]
fn type_bits_of_class_and_method_are_interleaved() {
    for method in (0..0x1000).map(Method) {
        for class in [
            Class::Request,
            Class::Indication,
            Class::Success,
            Class::Error,
        ] {
            let mut buffer = Vec::new();
            MessageWriter::new(&mut buffer, class, method, TRANSACTION).finish();
            let message = Message::parse(&buffer).unwrap();
            assert_eq!((message.class, message.method), (class, method));
        }
    }
}

#[test]
fn unknown_comprehension_required_attributes_are_listed() {
    let mut datagram = hex("000100182112a442b7e7a701bc34d686fa87dfae");
    // CHANGE-REQUEST; an unassigned required one, of odd length; an unassigned optional one.
    datagram.extend(hex("0003000400000006"));
    datagram.extend(hex("7ffe000341424300"));
    datagram.extend(hex("c001000400000001"));
    let message = Message::parse(&datagram).unwrap();
    let unknown: Vec<_> = message.unknown_attributes.iter().collect();
    assert_eq!(unknown, [AttributeType(0x0003), AttributeType(0x7ffe)]);
}

#[test]
fn list_of_unknown_attributes_has_a_bound() {
    let mut datagram = hex("000100002112a442b7e7a701bc34d686fa87dfae");
    for _ in 0..100 {
        datagram.extend(hex("7ffe0000"));
    }
    datagram[2..4].copy_from_slice(&400_u16.to_be_bytes());
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(
        message.unknown_attributes.iter().len(),
        UnknownAttributes::MAX
    );
}

#[test]
fn attributes_behind_message_integrity_are_ignored() {
    let mut datagram = Vec::new();
    MessageWriter::new(&mut datagram, Class::Request, Method::BINDING, TRANSACTION)
        .username("a:b")
        .message_integrity(PASSWORD)
        .use_candidate()
        .priority(7)
        .finish();
    let message = Message::parse(&datagram).unwrap();
    assert!(message.verify_integrity(PASSWORD));
    assert!(!message.use_candidate);
    assert_eq!(message.priority, None);
}

#[test]
fn first_of_repeated_attributes_counts() {
    let mut datagram = Vec::new();
    MessageWriter::new(&mut datagram, Class::Request, Method::BINDING, TRANSACTION)
        .username("first:b")
        .username("second:b")
        .finish();
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.username, Some("first:b"));
    assert_eq!(local_ufrag(&datagram), Some("first"));
}

#[test]
fn changed_bit_anywhere_is_detected() {
    let datagram = sample_request();
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let accepted = Message::parse(&changed)
            .is_ok_and(|message| message.has_fingerprint && message.verify_integrity(PASSWORD));
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn attributes_behind_the_fingerprint_are_refused() {
    let mut datagram = sample_request();
    datagram.extend(hex("c0010000"));
    datagram[3] += 4;
    // The CRC covers the length, so it has to be right again for the order to be the only fault.
    let at = datagram.len() - 12;
    let crc = integrity::fingerprint(&datagram[..at]).to_be_bytes();
    datagram[at + 4..at + 8].copy_from_slice(&crc);
    assert_eq!(
        Message::parse(&datagram).unwrap_err(),
        StunError::Fingerprint
    );
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let datagram = sample_request();
    for cut in 0..datagram.len() {
        assert!(Message::parse(&datagram[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = datagram.clone();
    longer.extend([0; 4]);
    assert_eq!(
        Message::parse(&longer).unwrap_err(),
        StunError::Length {
            stated: 88,
            actual: 92
        }
    );
    let mut reaching_out = hex("000100082112a442b7e7a701bc34d686fa87dfae");
    reaching_out.extend(hex("000600056576746a"));
    assert_eq!(
        Message::parse(&reaching_out).unwrap_err(),
        StunError::Truncated {
            attribute: AttributeType::USERNAME
        }
    );
    assert_eq!(local_ufrag(&reaching_out), None);
}

#[test]
fn values_of_the_wrong_size_are_refused() {
    // PRIORITY of 3, ICE-CONTROLLING of 4, MESSAGE-INTEGRITY of 8, an address of family 3, an error
    // code of class 2, a user name that is not UTF-8.
    for attribute in [
        "0024000300000000",
        "802a000400000000",
        "000800080000000000000000",
        "002000080003a147e112a643",
        "0009000400000200",
        "00060003ff3a6100",
    ] {
        let attribute = hex(attribute);
        let mut datagram = hex("000100002112a442b7e7a701bc34d686fa87dfae");
        datagram[3] = attribute.len() as u8;
        datagram.extend(&attribute);
        let error = Message::parse(&datagram).unwrap_err();
        assert!(
            matches!(error, StunError::BadValue { .. }),
            "{attribute:02x?}: {error}"
        );
    }
}

#[test]
fn user_name_longer_than_allowed_is_refused() {
    let mut datagram = hex("000102002112a442b7e7a701bc34d686fa87dfae000601fc");
    datagram.resize(20 + 4 + 508, b'a');
    datagram[24] = b':';
    assert!(Message::parse(&datagram).is_ok());
    assert_eq!(local_ufrag(&datagram), Some(""));
    datagram[2..4].copy_from_slice(&516_u16.to_be_bytes());
    datagram[22..24].copy_from_slice(&509_u16.to_be_bytes());
    datagram.resize(20 + 4 + 512, b'a');
    assert!(Message::parse(&datagram).is_err());
    assert_eq!(local_ufrag(&datagram), None);
}

#[test]
fn writing_into_a_used_buffer_does_not_allocate() {
    let mut buffer = Vec::with_capacity(128);
    let before = buffer.as_ptr();
    let address: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
    for _ in 0..2 {
        MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TRANSACTION)
            .xor_mapped_address(address)
            .message_integrity(PASSWORD)
            .finish();
    }
    assert_eq!(buffer.as_ptr(), before);
    assert_eq!(buffer.len(), 76);
}

proptest! {
    #[test]
    fn garbage_never_panics(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&datagram);
        let _ = local_ufrag(&datagram);
    }

    #[test]
    fn garbage_behind_a_header_never_panics(
        kind in 0_u16..0x4000,
        body in proptest::collection::vec(any::<u8>(), 0..50),
        aligned in any::<bool>(),
    ) {
        let mut body = body;
        if aligned {
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut datagram = kind.to_be_bytes().to_vec();
        datagram.extend((body.len() as u16).to_be_bytes());
        datagram.extend(MAGIC_COOKIE.to_be_bytes());
        datagram.extend(TRANSACTION.0);
        datagram.extend(body);
        if let Ok(message) = Message::parse(&datagram) {
            let _ = message.verify_integrity(PASSWORD);
        }
        let _ = local_ufrag(&datagram);
    }
}
