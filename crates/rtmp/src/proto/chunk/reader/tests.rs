//! Tests of the reader.

use super::*;
use bytes::Bytes;

fn reader() -> ChunkReader {
    ChunkReader::new(ChunkLimits::default())
}

fn read_all(reader: &mut ChunkReader, mut bytes: &[u8]) -> Result<Vec<RawMessage>, ChunkError> {
    let mut messages = Vec::new();
    while let Some(message) = reader.read(&mut bytes)? {
        messages.push(message);
    }
    assert!(bytes.is_empty(), "everything is read");
    Ok(messages)
}

/// Reads the bytes in one piece and byte by byte, and expects the same of both.
fn messages(bytes: &[u8]) -> Result<Vec<RawMessage>, ChunkError> {
    let whole = read_all(&mut reader(), bytes);
    let mut split = reader();
    let mut one_by_one = Vec::new();
    for byte in bytes.chunks(1) {
        match read_all(&mut split, byte) {
            Ok(messages) => one_by_one.extend(messages),
            Err(error) => {
                assert_eq!(Err(error), whole);
                return whole;
            }
        }
    }
    assert_eq!(whole.as_ref(), Ok(&one_by_one));
    whole
}

fn times(bytes: &[u8]) -> Vec<u32> {
    let messages = messages(bytes).unwrap();
    messages.iter().map(|message| message.timestamp).collect()
}

#[test]
fn all_four_header_types_are_read() {
    let bytes = [
        // Type 0: time 1000, 2 bytes, audio, stream 1.
        &[0x03, 0x00, 0x03, 0xE8, 0, 0, 2, 8, 1, 0, 0, 0, 0xAF, 0x01][..],
        // Type 1: 20 later, 3 bytes, video.
        &[0x43, 0, 0, 20, 0, 0, 3, 9, 1, 2, 3],
        // Type 2: 30 later.
        &[0x83, 0, 0, 30, 4, 5, 6],
        // Type 3: 30 later again.
        &[0xC3, 7, 8, 9],
    ]
    .concat();
    let message = |timestamp, type_id, payload: &'static [u8]| RawMessage {
        timestamp,
        type_id,
        stream_id: 1,
        payload: Bytes::from_static(payload),
    };
    assert_eq!(
        messages(&bytes).unwrap(),
        [
            message(1000, 8, &[0xAF, 0x01]),
            message(1020, 9, &[1, 2, 3]),
            message(1050, 9, &[4, 5, 6]),
            message(1080, 9, &[7, 8, 9]),
        ]
    );
}

#[test]
fn type_3_message_after_type_0_steps_by_the_timestamp() {
    let bytes = [&[0x03, 0, 0, 40, 0, 0, 1, 8, 1, 0, 0, 0, 1][..], &[0xC3, 2]].concat();
    assert_eq!(times(&bytes), [40, 80]);
}

#[test]
fn message_can_have_an_empty_payload() {
    let bytes = [0x03, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0];
    let messages = messages(&bytes).unwrap();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].payload.is_empty());
}

#[test]
fn two_and_three_byte_basic_headers_name_high_chunk_streams() {
    for (basic, expected) in [
        (&[0x00, 0][..], 64),
        (&[0x00, 255], 319),
        (&[0x01, 0, 1], 320),
        (&[0x01, 255, 255], 65_599),
    ] {
        let bytes = [basic, &[0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 9]].concat();
        let mut reader = reader();
        assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 1);
        assert_eq!(
            reader.streams.keys().copied().collect::<Vec<_>>(),
            [expected]
        );
    }
}

#[test]
fn chunk_streams_may_interleave() {
    let long: Vec<u8> = (0..200).collect();
    let bytes = [
        &[0x04, 0, 0, 5, 0, 0, 200, 9, 1, 0, 0, 0][..],
        &long[..128],
        &[0x06, 0, 0, 7, 0, 0, 2, 8, 1, 0, 0, 0, 0xAA, 0xBB],
        &[0xC4],
        &long[128..],
    ]
    .concat();
    let messages = messages(&bytes).unwrap();
    assert_eq!(messages[0].payload[..], [0xAA, 0xBB]);
    assert_eq!(messages[1].payload[..], long[..]);
}

/// Returns a message of 130 bytes at 0x01000000 whose continuation is preceded by `repeated`.
fn extended(repeated: &[u8]) -> Vec<u8> {
    [
        &[0x04, 0xFF, 0xFF, 0xFF, 0, 0, 134, 9, 1, 0, 0, 0, 1, 0, 0, 0][..],
        &[0x11; 128],
        &[0xC4],
        repeated,
        &[0x22; 6],
    ]
    .concat()
}

#[test]
fn extended_timestamp_may_be_repeated_in_continuations_or_not() {
    let payload = [&[0x11; 128][..], &[0x22; 6]].concat();
    for repeated in [&[1, 0, 0, 0][..], &[]] {
        let messages = messages(&extended(repeated)).unwrap();
        assert_eq!(messages.len(), 1, "repeated: {repeated:?}");
        assert_eq!(messages[0].timestamp, 0x0100_0000);
        assert_eq!(messages[0].payload[..], payload[..]);
    }
}

#[test]
fn short_tail_is_complete_without_an_extended_timestamp_that_the_sender_omits() {
    let mut reader = reader();
    assert_eq!(read_all(&mut reader, &extended(&[])).unwrap().len(), 1);
    // The next message ends two bytes after its continuation header, and nothing follows.
    let bytes = [
        &[
            0x04, 0xFF, 0xFF, 0xFF, 0, 0, 130, 9, 1, 0, 0, 0, 1, 0, 0, 40,
        ][..],
        &[0x33; 128],
        &[0xC4, 0x44, 0x44],
    ]
    .concat();
    assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 1);
}

#[test]
fn type_3_message_after_an_extended_timestamp_keeps_its_time() {
    let bytes = [
        &[
            0x04, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0, 1, 0, 0, 0, 7,
        ][..],
        &[0xC4, 1, 0, 0, 0, 8],
    ]
    .concat();
    assert_eq!(times(&bytes), [0x0100_0000, 0x0100_0000]);
}

#[test]
fn extended_delta_is_added() {
    let bytes = [
        &[0x04, 0, 0, 10, 0, 0, 1, 9, 1, 0, 0, 0, 7][..],
        &[0x84, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 8],
        &[0xC4, 1, 0, 0, 0, 9],
    ]
    .concat();
    assert_eq!(times(&bytes), [10, 0x0100_000A, 0x0200_000A]);
}

#[test]
fn deltas_wrap_at_32_bits() {
    let bytes = [
        &[
            0x04, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xF0, 7,
        ][..],
        &[0x84, 0, 0, 0x15, 8],
    ]
    .concat();
    assert_eq!(times(&bytes), [0xFFFF_FFF0, 5]);
}

#[test]
fn aborted_message_is_dropped_and_its_bytes_no_longer_count() {
    let mut reader = reader();
    let begun = [&[0x04, 0, 0, 5, 0, 0, 200, 9, 1, 0, 0, 0][..], &[1; 128]].concat();
    assert_eq!(read_all(&mut reader, &begun).unwrap(), []);
    reader.abort(4);
    reader.abort(4);
    reader.abort(99);
    assert_eq!(reader.under_way, 0);
    let next = [0x04, 0, 0, 9, 0, 0, 1, 9, 1, 0, 0, 0, 7];
    assert_eq!(read_all(&mut reader, &next).unwrap()[0].payload[..], [7]);
}

#[test]
fn chunk_sizes_from_one_byte_to_a_whole_message_are_supported() {
    let mut reader = reader();
    reader.set_chunk_size(1).unwrap();
    let bytes = [0x04, 0, 0, 5, 0, 0, 3, 9, 1, 0, 0, 0, 1, 0xC4, 2, 0xC4, 3];
    assert_eq!(
        read_all(&mut reader, &bytes).unwrap()[0].payload[..],
        [1, 2, 3]
    );
    reader.set_chunk_size(0x7FFF_FFFF).unwrap();
    let bytes = [&[0x04, 0, 0, 5, 0, 4, 0, 9, 1, 0, 0, 0][..], &[7; 1024]].concat();
    assert_eq!(
        read_all(&mut reader, &bytes).unwrap()[0].payload.len(),
        1024
    );
}

#[test]
fn impossible_chunk_sizes_are_refused() {
    for size in [0, 0x8000_0000, u32::MAX] {
        assert_eq!(
            reader().set_chunk_size(size),
            Err(ChunkError::BadChunkSize(size))
        );
    }
}

#[test]
fn first_header_of_a_chunk_stream_needs_a_length() {
    for (first, header_type) in [(0x83, 2), (0xC3, 3)] {
        let error = messages(&[first, 0, 0, 1, 0]).unwrap_err();
        assert_eq!(
            error,
            ChunkError::NoPrecedingHeader {
                chunk_stream: 3,
                header_type
            }
        );
    }
}

#[test]
fn first_header_may_be_of_type_1() {
    // A ping of librtmp.
    let bytes = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 7, 0, 0, 0, 1];
    let messages = messages(&bytes).unwrap();
    assert_eq!((messages[0].type_id, messages[0].stream_id), (4, 0));
}

#[test]
fn message_may_continue_with_headers_of_type_1_and_2() {
    let bytes = [
        &[0x04, 0, 0, 5, 0, 1, 140, 9, 1, 0, 0, 0][..],
        &[1; 128],
        // Length and type again, with a delta that means nothing here.
        &[0x44, 0, 0, 7, 0, 1, 140, 9],
        &[2; 128],
        &[0x84, 0, 0, 7],
        &[3; 128],
        &[0xC4],
        &[4; 12],
        // The next message, whose delta counts.
        &[0x44, 0, 0, 40, 0, 0, 1, 9, 5],
    ]
    .concat();
    let read = messages(&bytes).unwrap();
    let whole = [&[1; 128][..], &[2; 128], &[3; 128], &[4; 12]].concat();
    let found: Vec<_> = read
        .iter()
        .map(|message| (message.timestamp, &message.payload[..]))
        .collect();
    assert_eq!(found, [(5, &whole[..]), (45, &[5])]);
    // Another length or type begins another message.
    for header in [[0x44, 0, 0, 7, 0, 1, 141, 9], [0x44, 0, 0, 7, 0, 1, 140, 8]] {
        let bytes = [&bytes[..12 + 128], &header].concat();
        assert!(matches!(
            messages(&bytes),
            Err(ChunkError::UnfinishedMessage { .. })
        ));
    }
}

#[test]
fn new_message_inside_an_incomplete_one_is_refused() {
    let bytes = [
        &[0x04, 0, 0, 5, 0, 0, 200, 9, 1, 0, 0, 0][..],
        &[1; 128],
        &[0x04, 0, 0, 9, 0, 0, 1, 9, 1, 0, 0, 0, 7],
    ]
    .concat();
    assert_eq!(
        messages(&bytes),
        Err(ChunkError::UnfinishedMessage {
            chunk_stream: 4,
            received: 128,
            length: 200
        })
    );
}

#[test]
fn message_over_the_limit_is_refused_at_its_header() {
    let mut reader = reader();
    reader.bound_messages(1000, 1 << 20);
    let bytes = [0x04, 0, 0, 5, 0, 0x03, 0xE9, 9, 1, 0, 0, 0];
    assert_eq!(
        read_all(&mut reader, &bytes),
        Err(ChunkError::MessageTooLong {
            length: 1001,
            limit: 1000
        })
    );
}

#[test]
fn incomplete_messages_are_limited_in_total() {
    let mut reader = reader();
    let mut refused = 0;
    for chunk_stream in 3..63 {
        // 8 MiB each, of which one chunk comes.
        let header = [chunk_stream, 0, 0, 5, 0x80, 0, 0, 9, 1, 0, 0, 0];
        let bytes = [&header[..], &[1; 128]].concat();
        match read_all(&mut reader, &bytes) {
            Ok(messages) => assert_eq!(messages, []),
            Err(error) => {
                assert_eq!(
                    error,
                    ChunkError::TooMuchUnderWay {
                        bytes: 32 << 20,
                        limit: 24 << 20
                    }
                );
                refused += 1;
                break;
            }
        }
    }
    assert_eq!((refused, reader.under_way), (1, 24 << 20));
}

#[test]
fn number_of_chunk_streams_is_limited() {
    let mut reader = reader();
    for n in 0..65_536u32 {
        let id = (n as u16).to_le_bytes();
        let bytes = [0x01, id[0], id[1], 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 9];
        if n < 64 {
            assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 1);
        } else {
            assert_eq!(
                read_all(&mut reader, &bytes),
                Err(ChunkError::TooManyChunkStreams { limit: 64 })
            );
            break;
        }
    }
    assert_eq!(reader.streams.len(), 64);
}
