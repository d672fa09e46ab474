//! MPEG-4 audio syntax: `AudioSpecificConfig` (ISO/IEC 14496-3 section 1.6.2.1).

use crate::bits::BitReader;

/// `AOT_AAC_LC`.
pub const AAC_LC: u8 = 2;
const SBR: u8 = 5;
const PS: u8 = 29;

/// Maximum size of a configuration, in bytes.
const MAX_LEN: usize = 4096;

/// `samplingFrequencyIndex`, in Hz (table 1.18); 13 and 14 are reserved, 15 is the escape.
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Lowest and highest explicit sampling frequency that is accepted, in Hz.
const EXPLICIT_RATES: std::ops::RangeInclusive<u32> = 7_350..=96_000;

/// The error of an invalid `AudioSpecificConfig`. The publisher is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AacError {
    /// It ends in the middle of a field.
    #[error("AudioSpecificConfig ends after {len} bytes, in the middle of a field")]
    Truncated {
        /// Its length.
        len: usize,
    },
    /// It is longer than any real one.
    #[error("AudioSpecificConfig has {len} bytes, more than {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The maximum.
        limit: usize,
    },
    /// A field has a value that is reserved, or that no real stream has.
    #[error("AudioSpecificConfig: {field} is {value}")]
    OutOfRange {
        /// The field, named as in the specification.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

/// The decoder configuration of AAC access units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// `audioObjectType` of the core coder: 2 is AAC-LC, whether or not extensions are signalled.
    pub object_type: u8,
    /// Samples per second of the core coder.
    pub core_sample_rate: u32,
    /// `channelConfiguration`; 0 when a program config element describes the channels.
    pub channel_configuration: u8,
    /// Number of channels of the core coder.
    pub core_channels: u8,
    /// Samples per channel in an access unit of the core coder: 1024 or 960.
    pub frame_length: u16,
    /// Spectral band replication (HE-AAC) is signalled explicitly, with this output rate. Without,
    /// the access units may still carry it.
    pub sbr_sample_rate: Option<u32>,
    /// Parametric stereo (HE-AAC v2) is signalled explicitly: one coded channel stands for two.
    pub ps: bool,
}

impl AudioSpecificConfig {
    /// Reads a configuration with either form of explicit signaling of the extensions
    /// (section 1.6.5).
    ///
    /// # Errors
    /// When it ends early, is too large or has reserved values. Object types without a
    /// `GASpecificConfig` are read as far as their channels.
    pub fn parse(data: &[u8]) -> Result<Self, AacError> {
        let len = data.len();
        if len > MAX_LEN {
            let limit = MAX_LEN;
            return Err(AacError::TooLarge { len, limit });
        }
        let reader = BitReader::new(data);
        Parser { reader, len }.config()
    }

    /// Returns the sample rate of a decoder with all signalled extensions, in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sbr_sample_rate.unwrap_or(self.core_sample_rate)
    }

    /// Returns the number of channels of a decoder with all signalled extensions.
    pub fn channels(&self) -> u8 {
        if self.ps { 2 } else { self.core_channels }
    }

    /// Returns the common name of the codec, for display.
    pub fn name(&self) -> &'static str {
        match (self.object_type, self.sbr_sample_rate, self.ps) {
            (_, _, true) => "HE-AAC v2",
            (_, Some(_), false) => "HE-AAC",
            (1, ..) => "AAC Main",
            (AAC_LC, ..) => "AAC-LC",
            (3, ..) => "AAC SSR",
            (4, ..) => "AAC LTP",
            (23, ..) => "AAC-LD",
            (39, ..) => "AAC-ELD",
            (42, ..) => "xHE-AAC",
            _ => "MPEG-4 audio of another object type",
        }
    }
}

/// Returns whether a `GASpecificConfig` follows for this object type.
fn has_ga_config(object_type: u8) -> bool {
    matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23)
}

struct Parser<'a> {
    reader: BitReader<'a>,
    len: usize,
}

impl Parser<'_> {
    fn config(&mut self) -> Result<AudioSpecificConfig, AacError> {
        let mut object_type = self.object_type()?;
        let core_sample_rate = self.sample_rate()?;
        let channel_configuration = self.bits(4)? as u8;
        let mut sbr_sample_rate = None;
        let mut ps = false;
        // Hierarchical signaling: the extension first, then the core.
        if object_type == SBR || object_type == PS {
            ps = object_type == PS;
            sbr_sample_rate = Some(self.sample_rate()?);
            object_type = self.object_type()?;
        }
        let mut config = AudioSpecificConfig {
            object_type,
            core_sample_rate,
            channel_configuration,
            core_channels: channels(channel_configuration)?,
            frame_length: 1024,
            sbr_sample_rate,
            ps,
        };
        if has_ga_config(object_type) {
            self.ga_config(&mut config)?;
        }
        if config.core_channels == 0 {
            // Only a `GASpecificConfig` can describe them.
            return Err(AacError::OutOfRange {
                field: "channelConfiguration",
                value: 0,
            });
        }
        if config.sbr_sample_rate.is_none() {
            self.backward_compatible_extension(&mut config);
        }
        Ok(config)
    }

    /// `GASpecificConfig` (section 4.4.1).
    fn ga_config(&mut self, config: &mut AudioSpecificConfig) -> Result<(), AacError> {
        if self.bits(1)? == 1 {
            config.frame_length = 960;
        }
        if self.bits(1)? == 1 {
            self.bits(14)?; // coreCoderDelay
        }
        let extension = self.bits(1)? == 1;
        if config.channel_configuration == 0 {
            config.core_channels = self.program_config_channels()?;
        }
        if matches!(config.object_type, 6 | 20) {
            self.bits(3)?; // layerNr
        }
        if extension {
            match config.object_type {
                22 => drop(self.bits(16)?),               // numOfSubFrame, layer_length
                17 | 19 | 20 | 23 => drop(self.bits(3)?), // resilience flags
                _ => {}
            }
            self.bits(1)?; // extensionFlag3
        }
        Ok(())
    }

    /// Reads a `program_config_element` (section 4.4.1.1) and counts its channels.
    fn program_config_channels(&mut self) -> Result<u8, AacError> {
        self.bits(10)?; // element_instance_tag, object_type, sampling_frequency_index
        let mut groups = [0u32; 3]; // front, side, back
        for group in &mut groups {
            *group = self.bits(4)?;
        }
        let lfe = self.bits(2)?;
        let data = self.bits(3)?;
        let coupling = self.bits(4)?;
        for mixdown_bits in [4, 4, 3] {
            if self.bits(1)? == 1 {
                self.bits(mixdown_bits)?;
            }
        }
        let mut channels = lfe;
        for _ in 0..groups.iter().sum() {
            let is_pair = self.bits(1)?;
            self.bits(4)?; // element_tag_select
            channels += 1 + is_pair;
        }
        for bits in std::iter::repeat_n(4, (lfe + data) as usize)
            .chain(std::iter::repeat_n(5, coupling as usize))
        {
            self.bits(bits)?;
        }
        self.reader.align();
        let comment_len = self.bits(8)?;
        for _ in 0..comment_len {
            self.bits(8)?;
        }
        u8::try_from(channels)
            .ok()
            .filter(|channels| *channels > 0)
            .ok_or(AacError::OutOfRange {
                field: "number of channels",
                value: channels,
            })
    }

    /// Parses the extension after the core's configuration, which old decoders ignore. It may be
    /// absent or cut off without harm.
    fn backward_compatible_extension(&mut self, config: &mut AudioSpecificConfig) {
        const SYNC_EXTENSION: u32 = 0x2b7;
        const PS_EXTENSION: u32 = 0x548;
        if self.reader.bits(11) != Some(SYNC_EXTENSION) {
            return;
        }
        if self.object_type().ok() != Some(SBR) || self.reader.flag() != Some(true) {
            return;
        }
        let Ok(rate) = self.sample_rate() else { return };
        config.sbr_sample_rate = Some(rate);
        config.ps = self.reader.bits(11) == Some(PS_EXTENSION) && self.reader.flag() == Some(true);
    }

    fn object_type(&mut self) -> Result<u8, AacError> {
        let object_type = match self.bits(5)? {
            31 => 32 + self.bits(6)?,
            object_type => object_type,
        };
        if object_type == 0 {
            return Err(AacError::OutOfRange {
                field: "audioObjectType",
                value: 0,
            });
        }
        Ok(object_type as u8)
    }

    fn sample_rate(&mut self) -> Result<u32, AacError> {
        let index = self.bits(4)?;
        if index == 15 {
            let value = self.bits(24)?;
            let field = "samplingFrequency";
            return if EXPLICIT_RATES.contains(&value) {
                Ok(value)
            } else {
                Err(AacError::OutOfRange { field, value })
            };
        }
        SAMPLE_RATES
            .get(index as usize)
            .copied()
            .ok_or(AacError::OutOfRange {
                field: "samplingFrequencyIndex",
                value: index,
            })
    }

    fn bits(&mut self, count: u32) -> Result<u32, AacError> {
        self.reader
            .bits(count)
            .ok_or(AacError::Truncated { len: self.len })
    }
}

/// Channels of a `channelConfiguration` (table 1.19).
fn channels(configuration: u8) -> Result<u8, AacError> {
    match configuration {
        0 => Ok(0), // a program config element says it
        1..=6 => Ok(configuration),
        7 | 12 | 14 => Ok(8),
        11 => Ok(7),
        value => Err(AacError::OutOfRange {
            field: "channelConfiguration",
            value: u32::from(value),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use proptest::prelude::*;

    fn parse(digits: &str) -> AudioSpecificConfig {
        AudioSpecificConfig::parse(&hex(digits)).unwrap()
    }

    #[test]
    fn plain_aac_lc_is_parsed() {
        let config = parse("1190");
        assert_eq!(
            (config.object_type, config.core_sample_rate),
            (AAC_LC, 48_000)
        );
        assert_eq!((config.channels(), config.sample_rate()), (2, 48_000));
        assert_eq!(config.frame_length, 1024);
        assert_eq!(config.name(), "AAC-LC");
        // 44.1 kHz mono as ffmpeg writes it: the extension says that there is no SBR.
        let config = parse("120856e500");
        assert_eq!((config.sample_rate(), config.channels()), (44_100, 1));
        assert_eq!(config.sbr_sample_rate, None);
        assert_eq!(parse("1198").channels(), 3);
        assert_eq!(parse("11b0").channels(), 6);
        assert_eq!(parse("11b8").channels(), 8);
    }

    #[test]
    fn explicit_sampling_frequency_is_parsed() {
        // 00010 1111 + 24 bits of 44100 + 0010 000.
        let config = parse("1780 5622 10");
        assert_eq!((config.sample_rate(), config.channels()), (44_100, 2));
    }

    #[test]
    fn hierarchical_signaling_of_he_aac_is_recognized() {
        // 00101 0110 0010 0011 00010 000: SBR over 24 kHz stereo, output 48 kHz.
        let config = parse("2b118800");
        assert_eq!(
            (config.core_sample_rate, config.sample_rate()),
            (24_000, 48_000)
        );
        assert_eq!((config.object_type, config.ps), (AAC_LC, false));
        assert_eq!(config.name(), "HE-AAC");
        // 11101 0110 0001 0011 00010 000: PS over 24 kHz mono.
        let config = parse("eb098800");
        assert_eq!((config.core_channels, config.channels()), (1, 2));
        assert_eq!((config.sample_rate(), config.name()), (48_000, "HE-AAC v2"));
    }

    #[test]
    fn backward_compatible_signaling_of_he_aac_is_recognized() {
        // LC 24 kHz stereo, then 0x2b7, 00101, 1, 0011.
        let config = parse("131056e598");
        assert_eq!(
            (config.core_sample_rate, config.sample_rate()),
            (24_000, 48_000)
        );
        assert!(!config.ps);
        // LC 24 kHz mono, then SBR at 48 kHz and 0x548, 1.
        let config = parse("130856e59d4880");
        assert_eq!((config.sample_rate(), config.channels()), (48_000, 2));
        assert!(config.ps);
    }

    #[test]
    fn escaped_object_type_is_parsed() {
        // 11111 001010: 42.
        let config = parse("f94642 00");
        assert_eq!((config.object_type, config.name()), (42, "xHE-AAC"));
        assert_eq!(config.sample_rate(), 48_000);
    }

    #[test]
    fn channels_of_a_program_config_element_are_counted() {
        // LC 48 kHz, configuration 0; GASpecificConfig 000; tag 0, profile 01, rate 0011;
        // one front pair and one front single, one back pair, one LFE; no data, no coupling,
        // no mixdowns; elements: pair 0, single 0, pair 1, LFE 0; comment of no bytes.
        let bits = "00010 0011 0000 000 0000 01 0011 0010 0000 0001 01 000 0000 000 \
                    1 0000 0 0000 1 0001 0000";
        let mut data = Vec::new();
        let digits: Vec<u8> = bits
            .bytes()
            .filter(|bit| *bit != b' ')
            .map(|bit| bit - b'0')
            .collect();
        for byte in digits.chunks(8) {
            data.push(
                byte.iter()
                    .enumerate()
                    .fold(0, |value, (at, bit)| value | bit << (7 - at)),
            );
        }
        data.push(0);
        let config = AudioSpecificConfig::parse(&data).unwrap();
        assert_eq!((config.channel_configuration, config.channels()), (0, 6));
    }

    #[test]
    fn reserved_values_and_truncated_configurations_are_errors() {
        let error = |digits| AudioSpecificConfig::parse(&hex(digits)).unwrap_err();
        assert!(matches!(
            error("1690"),
            AacError::OutOfRange { value: 13, .. }
        ));
        assert!(matches!(
            error("11c0"),
            AacError::OutOfRange { value: 8, .. }
        ));
        assert!(matches!(
            error("0190"),
            AacError::OutOfRange { value: 0, .. }
        ));
        assert!(matches!(
            error("1780000090"),
            AacError::OutOfRange { value: 1, .. }
        ));
        assert_eq!(error("11"), AacError::Truncated { len: 1 });
        assert_eq!(error(""), AacError::Truncated { len: 0 });
        let huge = AudioSpecificConfig::parse(&[0x11; MAX_LEN + 1]);
        assert!(matches!(huge, Err(AacError::TooLarge { .. })));
        // An object type without `GASpecificConfig` (9, HVXC), and no channels.
        assert!(AudioSpecificConfig::parse(&[0x4a, 0x00]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(config) = AudioSpecificConfig::parse(&data) {
                prop_assert!(EXPLICIT_RATES.contains(&config.sample_rate()));
            }
        }
    }
}
