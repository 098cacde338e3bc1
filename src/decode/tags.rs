//! A TIFF directory: the tags of a TIFF file and of Exif data, which has the same format.
//!
//! The reference is PIL's `ImageFileDirectory_v2`. If a tag occurs twice, the first entry counts. An entry
//! of an unknown type, or with values outside the file, is skipped, and the entries after it are still
//! read.

/// The byte order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Tags of a TIFF file.
pub(super) mod tag {
    pub const IMAGE_WIDTH: u16 = 256;
    pub const IMAGE_LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC_INTERPRETATION: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const T4_OPTIONS: u16 = 292;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const YCBCR_COEFFICIENTS: u16 = 529;
    pub const YCBCR_SUBSAMPLING: u16 = 530;
    pub const REFERENCE_BLACK_WHITE: u16 = 532;
    pub const XMP: u16 = 700;
}

/// How the numbers of an entry are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Byte,
    Ascii,
    Short,
    Long,
    Rational,
    SignedByte,
    Undefined,
    SignedShort,
    SignedLong,
    SignedRational,
    Float,
    Double,
    Long8,
}

impl Type {
    fn of(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Byte,
            2 => Self::Ascii,
            3 => Self::Short,
            4 | 13 => Self::Long,
            5 => Self::Rational,
            6 => Self::SignedByte,
            7 => Self::Undefined,
            8 => Self::SignedShort,
            9 => Self::SignedLong,
            10 => Self::SignedRational,
            11 => Self::Float,
            12 => Self::Double,
            16 => Self::Long8,
            _ => return None,
        })
    }

    /// Size of one value in bytes.
    fn size(self) -> usize {
        match self {
            Self::Byte | Self::Ascii | Self::SignedByte | Self::Undefined => 1,
            Self::Short | Self::SignedShort => 2,
            Self::Long | Self::SignedLong | Self::Float => 4,
            Self::Rational | Self::SignedRational | Self::Double | Self::Long8 => 8,
        }
    }
}

/// The first directory of a TIFF file, or of Exif data.
pub(super) struct Directory<'a> {
    file: &'a [u8],
    pub byte_order: ByteOrder,
    is_big: bool,
    /// Where its first entry starts, and how many entries lie within the file.
    start: usize,
    count: usize,
}

/// The values of one tag.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    kind: Type,
    byte_order: ByteOrder,
    values: &'a [u8],
}

impl<'a> Directory<'a> {
    /// Finds the first directory; `None` if the file is not a TIFF, or ends before the directory.
    pub fn first(file: &'a [u8]) -> Option<Self> {
        let (byte_order, is_big) = match *file.first_chunk()? {
            // PIL accepts a version number in the wrong byte order too.
            [b'I', b'I', 42, 0] | [b'I', b'I', 0, 42] => (ByteOrder::Little, false),
            [b'M', b'M', 0, 42] | [b'M', b'M', 42, 0] => (ByteOrder::Big, false),
            [b'I', b'I', 43, 0] => (ByteOrder::Little, true),
            [b'M', b'M', 0, 43] => (ByteOrder::Big, true),
            _ => return None,
        };
        let mut directory = Self { file, byte_order, is_big, start: 0, count: 0 };
        let offset = if is_big { directory.long8(8)? } else { directory.long(4)?.into() };
        let offset = usize::try_from(offset).ok()?;
        let claimed =
            if is_big { directory.long8(offset)? } else { directory.short(offset)?.into() };
        directory.start = offset.checked_add(if is_big { 8 } else { 2 })?;
        let within = file.len().saturating_sub(directory.start) / directory.entry_size();
        directory.count = usize::try_from(claimed).unwrap_or(usize::MAX).min(within);
        Some(directory)
    }

    /// The directory of Exif data. PIL does not read Exif data that uses BigTIFF's 64-bit sizes.
    pub fn of_exif(exif: &'a [u8]) -> Option<Self> {
        Self::first(exif).filter(|directory| !directory.is_big)
    }

    /// The first entry of a tag, if its values lie within the file.
    pub fn find(&self, tag: u16) -> Option<Entry<'a>> {
        (0..self.count).find_map(|place| {
            let at = self.start + place * self.entry_size();
            if self.short(at)? == tag { self.entry(at) } else { None }
        })
    }

    /// The values of a tag, whatever their number type; none if the tag is missing.
    pub fn values(&self, tag: u16) -> impl Iterator<Item = f64> + Clone + 'a {
        self.find(tag).into_iter().flat_map(Entry::values)
    }

    /// The values of a tag as whole numbers.
    pub fn numbers(&self, tag: u16) -> impl Iterator<Item = u64> + Clone + 'a {
        self.values(tag).map(|value| value as u64)
    }

    /// The first value of a tag as a whole number.
    pub fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag).next()
    }

    /// The bytes of a tag, unchanged.
    pub fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.find(tag).map(|entry| entry.values)
    }

    fn entry_size(&self) -> usize {
        if self.is_big { 20 } else { 12 }
    }

    fn entry(&self, at: usize) -> Option<Entry<'a>> {
        let kind = Type::of(self.short(at + 2)?)?;
        let count = if self.is_big { self.long8(at + 4)? } else { self.long(at + 4)?.into() };
        let size = usize::try_from(count).ok()?.checked_mul(kind.size())?;
        let (inline, room) = if self.is_big { (at + 12, 8) } else { (at + 8, 4) };
        let from = if size <= room {
            inline
        } else if self.is_big {
            usize::try_from(self.long8(inline)?).ok()?
        } else {
            self.long(inline)? as usize
        };
        let values = self.file.get(from..from.checked_add(size)?)?;
        if values.is_empty() {
            return None;
        }
        Some(Entry { kind, byte_order: self.byte_order, values })
    }

    fn short(&self, at: usize) -> Option<u16> {
        Some(self.byte_order.short(*self.file.get(at..)?.first_chunk()?))
    }

    fn long(&self, at: usize) -> Option<u32> {
        Some(self.byte_order.long(*self.file.get(at..)?.first_chunk()?))
    }

    fn long8(&self, at: usize) -> Option<u64> {
        Some(self.byte_order.long8(*self.file.get(at..)?.first_chunk()?))
    }
}

impl<'a> Entry<'a> {
    /// Whether its values are opaque bytes or text.
    pub fn is_bytes(&self) -> bool {
        matches!(self.kind, Type::Byte | Type::Ascii | Type::Undefined)
    }

    /// Its values. Everything a file holds is exact in f64: offsets have less than 53 bits.
    pub fn values(self) -> impl ExactSizeIterator<Item = f64> + Clone + 'a {
        self.values.chunks_exact(self.kind.size()).map(move |bytes| self.value(bytes))
    }

    fn value(self, bytes: &[u8]) -> f64 {
        let two = || self.byte_order.short([bytes[0], bytes[1]]);
        let four = |at| self.byte_order.long([0, 1, 2, 3].map(|i: usize| bytes[at + i]));
        let eight = || self.byte_order.long8([0, 1, 2, 3, 4, 5, 6, 7].map(|i: usize| bytes[i]));
        match self.kind {
            Type::Byte | Type::Ascii | Type::Undefined => f64::from(bytes[0]),
            Type::SignedByte => f64::from(bytes[0] as i8),
            Type::Short => f64::from(two()),
            Type::SignedShort => f64::from(two() as i16),
            Type::Long => f64::from(four(0)),
            Type::SignedLong => f64::from(four(0) as i32),
            Type::Long8 => eight() as f64,
            Type::Rational => f64::from(four(0)) / f64::from(four(4)),
            Type::SignedRational => f64::from(four(0) as i32) / f64::from(four(4) as i32),
            Type::Float => f64::from(f32::from_bits(four(0))),
            Type::Double => f64::from_bits(eight()),
        }
    }
}

impl ByteOrder {
    pub fn short(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub fn long(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn long8(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}
