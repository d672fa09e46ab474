//! SWF verification: a client proves which Flash program it plays.
//!
//! ```text
//! server  user control 26                                  ──►  client
//!    ◄──  user control 27: 1, 1, size, size, HMAC-SHA256
//! ```
//!
//! The HMAC covers the program's hash, and its key is the end of S1. The hash is an HMAC-SHA256 of
//! the uncompressed program. Every client that has the file can make the proof, so it only keeps
//! away clients without the file. No specification of Adobe's describes it; librtmp and ffmpeg
//! speak this form.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of hashes.
const HASH_KEY: &[u8] = b"Genuine Adobe Flash Player 001";

/// Length of a hash.
pub const SWF_HASH_LEN: usize = 32;

/// Length of the key of a proof, in bytes.
pub(crate) const PROOF_KEY_LEN: usize = 32;

/// Length of a proof without the type of the event, in bytes.
pub(crate) const PROOF_LEN: usize = 2 + 2 * 4 + SWF_HASH_LEN;

/// The version of SWF verification. Clients support no other.
pub(crate) const PROOF_VERSION: u8 = 1;

/// Length of the part of a file that is never compressed: signature, version and length.
const HEADER_LEN: usize = 8;

/// Maximum size of an uncompressed program, in bytes. Flash programs have some megabytes.
const MAX_SIZE: u64 = 256 << 20;

/// The key of a proof: the end of S1.
pub(crate) type ProofKey = [u8; PROOF_KEY_LEN];

/// The response of a client that proves its program.
pub(crate) type Proof = [u8; PROOF_LEN];

/// A Flash program, identified by its uncompressed size and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swf {
    size: u32,
    hash: [u8; SWF_HASH_LEN],
}

/// The Flash program that a client presents itself as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashProgram {
    /// The URL of the program (`swfUrl`); empty if it is not known.
    pub url: String,
    /// The program's size and hash, for the proof. Without it a pull downloads the program when a
    /// server asks.
    pub swf: Option<Swf>,
}

/// The error of a file or a hash that is not a verifiable program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwfError {
    /// The file cannot be read, or its compressed part is broken.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("not an SWF file: it begins with neither FWS nor CWS")]
    NotSwf,
    /// The file is compressed by LZMA, which no client can verify.
    #[error("the SWF file is compressed by LZMA, which RTMP clients cannot verify")]
    Lzma,
    /// The program is larger than the limit.
    #[error("the uncompressed SWF file has more than {MAX_SIZE} bytes")]
    TooLarge,
    /// The hash does not have 64 hexadecimal digits.
    #[error("expected a hash of 64 hexadecimal digits")]
    BadHash,
}

/// The reason why a client fails SWF verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwfRefusal {
    /// The client has sent no proof.
    #[error("this server asks for SWF verification, which the client did not answer")]
    Unanswered,
    /// The client has sent a wrong proof.
    #[error("the client plays another SWF file than this server asks for")]
    Wrong,
}

impl Swf {
    /// Returns the program with this hash, in hexadecimal digits, and this uncompressed size, in
    /// bytes.
    ///
    /// # Errors
    /// Returns [`SwfError::BadHash`] if the hash does not have 64 digits.
    pub fn new(hash: &str, size: u32) -> Result<Self, SwfError> {
        let mut bytes = [0; SWF_HASH_LEN];
        let (pairs, odd) = hash.as_bytes().as_chunks::<2>();
        if pairs.len() != SWF_HASH_LEN || !odd.is_empty() {
            return Err(SwfError::BadHash);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(SwfError::BadHash);
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        Ok(Self { size, hash: bytes })
    }

    /// Reads a program from its file.
    ///
    /// # Errors
    /// Returns [`SwfError`] if the file cannot be read or is not a program that can be verified.
    pub fn read(mut file: impl Read) -> Result<Self, SwfError> {
        let mut header = [0; HEADER_LEN];
        file.read_exact(&mut header)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => SwfError::NotSwf,
                _ => error.into(),
            })?;
        let body: &mut dyn Read = match &header[..3] {
            b"FWS" => &mut file,
            b"CWS" => &mut ZlibDecoder::new(file),
            b"ZWS" => return Err(SwfError::Lzma),
            _ => return Err(SwfError::NotSwf),
        };
        header[0] = b'F';
        let mut hash = hmac(HASH_KEY);
        hash.update(&header);
        let mut size = HEADER_LEN as u64;
        let mut part = [0; 16 << 10];
        loop {
            match body.read(&mut part) {
                Ok(0) => break,
                Ok(len) => {
                    hash.update(part.get(..len).unwrap_or_default());
                    size += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if size > MAX_SIZE {
                return Err(SwfError::TooLarge);
            }
        }
        Ok(Self {
            size: u32::try_from(size).map_err(|_| SwfError::TooLarge)?,
            hash: hash.finalize().into_bytes().into(),
        })
    }

    /// Returns the proof of this program on the connection with this key.
    pub(crate) fn proof(&self, key: &ProofKey) -> Proof {
        let mut hash = hmac(key);
        hash.update(&self.hash);
        let size = self.size.to_be_bytes();
        let hash: [u8; SWF_HASH_LEN] = hash.finalize().into_bytes().into();
        let mut proof = [PROOF_VERSION; PROOF_LEN];
        proof[2..6].copy_from_slice(&size);
        proof[6..10].copy_from_slice(&size);
        proof[10..].copy_from_slice(&hash);
        proof
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::ZlibEncoder;

    fn program(kind: &[u8; 3], body: &[u8]) -> Vec<u8> {
        let size = (HEADER_LEN + body.len()) as u32;
        [kind, &[10][..], &size.to_le_bytes(), body].concat()
    }

    /// The expected hash is that of Python's `hmac` module.
    #[test]
    fn hash_matches_an_independent_implementation_with_and_without_compression() {
        let body = b"a Flash program ".repeat(5000);
        let plain = program(b"FWS", &body);
        let expected = Swf::new(
            "ef8ee7a8470f7f7eb30d90acfe52f6c84fea9bdbf7dcdd9a1ed67690d1830bf3",
            80_008,
        )
        .unwrap();
        assert_eq!(Swf::read(&plain[..]).unwrap(), expected);
        let mut compressed = plain[..HEADER_LEN].to_vec();
        compressed[0] = b'C';
        let mut encoder = ZlibEncoder::new(&body[..], Compression::default());
        encoder.read_to_end(&mut compressed).unwrap();
        assert_eq!(Swf::read(&compressed[..]).unwrap(), expected);
        compressed.truncate(compressed.len() / 2);
        assert!(matches!(Swf::read(&compressed[..]), Err(SwfError::Io(_))));
    }

    #[test]
    fn files_that_cannot_be_verified_are_refused() {
        for (file, expected) in [
            (&b"FWS"[..], "not an SWF file"),
            (b"<html>404 Not Found</html>", "not an SWF file"),
            (b"ZWS\x0d\0\0\0\0", "LZMA"),
        ] {
            let said = Swf::read(file).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
        let endless = io::Cursor::new(program(b"FWS", b"")).chain(io::repeat(0));
        assert!(matches!(Swf::read(endless), Err(SwfError::TooLarge)));
    }

    #[test]
    fn hash_has_64_digits() {
        for hash in [
            "",
            "5a",
            &"5a".repeat(33),
            &"5".repeat(63),
            &"5g".repeat(32),
            &"+5".repeat(32),
        ] {
            assert!(
                matches!(Swf::new(hash, 1), Err(SwfError::BadHash)),
                "{hash}"
            );
        }
        assert_eq!(Swf::new(&"5A".repeat(32), 1).unwrap().hash, [0x5A; 32]);
    }
}
