//! Bits, most significant first, and the Exp-Golomb codes of H.264 (ITU-T H.264 section 9.1).

/// Reads bits from a byte string. Reads past the end return `None`.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    /// Position of the next bit.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Returns a reader at the first bit of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// Returns the number of remaining bits.
    pub fn remaining(&self) -> usize {
        self.data.len() * 8 - self.position
    }

    /// Returns the position of the next bit, from the start.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads the next bit as a flag: `u(1)`.
    pub fn flag(&mut self) -> Option<bool> {
        let byte = *self.data.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// Reads the next `count` bits, 32 at most, as an unsigned number: `u(n)`.
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32, "a number of {count} bits");
        if self.remaining() < count as usize {
            return None;
        }
        let mut value = 0u64;
        for _ in 0..count {
            value = value << 1 | u64::from(self.flag()?);
        }
        u32::try_from(value).ok()
    }

    /// Skips `count` bits.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        if self.remaining() < count {
            return None;
        }
        self.position += count;
        Some(())
    }

    /// Skips the remaining bits of a partially read byte.
    pub fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    /// Reads an unsigned Exp-Golomb code, `ue(v)`: 0 to 2^32 - 2.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            // 32 leading zeros would overflow a 32-bit number.
            if zeros == 32 {
                return None;
            }
        }
        let suffix = self.bits(zeros)?;
        Some(((1u64 << zeros) - 1 + u64::from(suffix)) as u32)
    }

    /// Reads a signed Exp-Golomb code, `se(v)`: 1, -1, 2, -2, ... for the codes 1, 2, 3, 4, ...
    pub fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        let value = if code % 2 == 0 { -magnitude } else { magnitude };
        i32::try_from(value).ok()
    }
}

/// Writes bits, most significant first.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    data: Vec<u8>,
    /// Bits written.
    position: usize,
}

impl BitWriter {
    /// Writes one bit: `u(1)`.
    pub fn flag(&mut self, bit: bool) {
        if self.position.is_multiple_of(8) {
            self.data.push(0);
        }
        if let (true, Some(last)) = (bit, self.data.last_mut()) {
            *last |= 0x80 >> (self.position % 8);
        }
        self.position += 1;
    }

    /// Writes the low `count` bits of a number: `u(n)`.
    pub fn bits(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            self.flag(value >> bit & 1 == 1);
        }
    }

    /// Writes an unsigned Exp-Golomb code: `ue(v)`.
    pub fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let len = code.ilog2();
        self.bits(0, len);
        self.bits(code, len + 1);
    }

    /// Returns the written bits, followed by a one and zeros up to a whole byte:
    /// `rbsp_trailing_bits()`.
    pub fn finish_rbsp(mut self) -> Vec<u8> {
        self.flag(true);
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bits_are_read_back() {
        let mut writer = BitWriter::default();
        let numbers = [0, 1, 2, 7, 8, 255, u32::MAX - 1];
        writer.flag(true);
        writer.bits(0x2a5, 10);
        numbers.iter().for_each(|number| writer.ue(*number));
        let data = writer.finish_rbsp();
        let mut reader = BitReader::new(&data);
        assert_eq!((reader.flag(), reader.bits(10)), (Some(true), Some(0x2a5)));
        let read: Vec<u32> = numbers.iter().map(|_| reader.ue().unwrap()).collect();
        assert_eq!(read, numbers);
        assert_eq!(reader.flag(), Some(true));
        assert!(reader.remaining() < 8);
    }

    #[test]
    fn exp_golomb_codes_match_table_9_2() {
        // 1, 010, 011, 00100, 00101, 00110, 00111, 0001000 and padding.
        let data = [
            0b1010_0110,
            0b0100_0010,
            0b1001_1000,
            0b1110_0010,
            0b0000_0000,
        ];
        let mut reader = BitReader::new(&data);
        let codes: Vec<_> = (0..8).map(|_| reader.ue().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
        let mut reader = BitReader::new(&data);
        let codes: Vec<_> = (0..8).map(|_| reader.se().unwrap()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2, 3, -3, 4]);
    }

    #[test]
    fn largest_code_is_read_and_a_longer_one_refused() {
        // 31 zeros, a one, 31 ones.
        let mut data = [0u8, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];
        assert_eq!(BitReader::new(&data).ue(), Some(u32::MAX - 1));
        data[3] = 0;
        assert_eq!(BitReader::new(&data).ue(), None);
    }

    #[test]
    fn reading_past_the_end_returns_none_and_consumes_nothing() {
        let mut reader = BitReader::new(&[0xa5]);
        assert_eq!(reader.bits(4), Some(0xa));
        assert_eq!(reader.bits(5), None);
        assert_eq!(reader.bits(4), Some(5));
        assert_eq!(reader.flag(), None);
        assert_eq!(reader.ue(), None);
        assert_eq!(reader.skip(1), None);
        assert_eq!(BitReader::new(&[0xff; 4]).bits(32), Some(u32::MAX));
    }
}
