//! A JPEG's markers and the segments after them: everything but its coefficients.

use std::borrow::Cow;

use crate::error::Result;
use crate::memory;

pub const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;
const APP1: u8 = 0xe1;

/// The coding of a frame; its marker determines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Sequential,
    Progressive,
    Lossless,
    Hierarchical,
}

/// What a JPEG's headers state about its frame before the first scan.
pub struct Frame {
    pub width: u32,
    pub height: u32,
    /// Bits per sample.
    pub precision: u8,
    pub coding: Coding,
    pub is_arithmetic: bool,
    /// The name of each component.
    pub ids: Vec<u8>,
    /// Horizontal and vertical sampling factor of each component.
    pub sampling: Vec<(u8, u8)>,
    /// Whether the first scan contains all components, so that no other scan is necessary.
    pub is_interleaved: bool,
}

/// The scans of a file and how they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scans {
    pub count: u64,
    /// Whether an end-of-image marker follows them.
    pub has_end: bool,
}

/// Every marker after the first, with the segment that follows it, which may be truncated or empty.
fn markers(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
            match *bytes.get(at)? {
                // A fill byte: the next byte may be the marker.
                0xff => {}
                // A stuffed zero inside a scan.
                0x00 => at += 1,
                // Markers without a segment.
                marker @ (0x01 | 0xd0..=0xd9) => {
                    at += 1;
                    return Some((marker, &bytes[..0]));
                }
                // All others have a segment. It is skipped, since its bytes may look like markers, as in a
                // thumbnail.
                marker => {
                    let length = bytes.get(at + 1..at + 3).unwrap_or(&[0, 0]);
                    let start = bytes.len().min(at + 3);
                    at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                    return Some((marker, &bytes[start..bytes.len().min(at)]));
                }
            }
        }
    })
}

/// Counts the scans up to the end of the image.
pub fn scans(bytes: &[u8]) -> Scans {
    let mut scans = Scans { count: 0, has_end: false };
    for (marker, _) in markers(bytes) {
        match marker {
            // Before the first scan, this marker is junk.
            END_OF_IMAGE if scans.count > 0 => return Scans { has_end: true, ..scans },
            START_OF_SCAN => scans.count += 1,
            _ => {}
        }
    }
    scans
}

impl Frame {
    /// The frame header before the first scan.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut frame = None;
        for (marker, segment) in markers(bytes) {
            match marker {
                0xc4 | 0xc8 | 0xcc => {}
                0xc0..=0xcf => frame = Some(Self::parse(marker, segment)?),
                START_OF_SCAN => {
                    let mut frame: Self = frame?;
                    let in_scan = segment.first().map_or(0, |count| usize::from(*count));
                    frame.is_interleaved = in_scan == frame.sampling.len();
                    return Some(frame);
                }
                _ => {}
            }
        }
        None
    }

    fn parse(marker: u8, segment: &[u8]) -> Option<Self> {
        let [precision, y, yy, x, xx, count, components @ ..] = segment else { return None };
        let components = components.as_chunks::<3>().0.get(..usize::from(*count))?;
        Some(Self {
            width: u32::from(u16::from_be_bytes([*x, *xx])),
            height: u32::from(u16::from_be_bytes([*y, *yy])),
            precision: *precision,
            coding: match marker {
                0xc0 | 0xc1 | 0xc9 => Coding::Sequential,
                0xc2 | 0xca => Coding::Progressive,
                0xc3 | 0xcb => Coding::Lossless,
                _ => Coding::Hierarchical,
            },
            is_arithmetic: marker >= 0xc9,
            ids: components.iter().map(|[id, ..]| *id).collect(),
            sampling: components.iter().map(|[_, both, _]| (both >> 4, both & 15)).collect(),
            is_interleaved: true,
        })
    }

    /// Whether two components have the same name.
    pub fn shares_names(&self) -> bool {
        self.ids.iter().enumerate().any(|(at, id)| self.ids[..at].contains(id))
    }

    /// The largest sampling factors of all components.
    pub fn largest_sampling(&self) -> (u8, u8) {
        self.sampling.iter().fold((1, 1), |most, of| (most.0.max(of.0), most.1.max(of.1)))
    }
}

/// Copies the file and gives components that share a name different ones. libjpeg tells them apart by their
/// order in a scan of all components. `None` if they are not in one scan.
pub fn with_names(bytes: &[u8], frame: &Frame) -> Result<Option<Vec<u8>>> {
    let count = frame.ids.len();
    let mut renamed: Vec<u8> = memory::collected(bytes.len(), bytes.iter().copied())?;
    let offset = |segment: &[u8]| segment.as_ptr() as usize - bytes.as_ptr() as usize;
    let mut scans = 0;
    for (marker, segment) in markers(bytes) {
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                if segment.len() < 6 + 3 * count {
                    return Ok(None);
                }
                for at in 0..count {
                    renamed[offset(segment) + 6 + 3 * at] = at as u8 + 1;
                }
            }
            START_OF_SCAN => {
                let ids = segment
                    .get(1..)
                    .unwrap_or_default()
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|[id, _]| id);
                if scans > 0
                    || segment.len() < 1 + 2 * count
                    || !frame.ids.iter().eq(ids.take(count))
                {
                    return Ok(None);
                }
                for at in 0..count {
                    renamed[offset(segment) + 1 + 2 * at] = at as u8 + 1;
                }
                scans += 1;
            }
            END_OF_IMAGE if scans > 0 => break,
            _ => {}
        }
    }
    Ok(Some(renamed))
}

/// Whether the scans of a progressive file contain the first coefficients of every component at full
/// precision. Otherwise libjpeg-turbo smooths the blocks.
pub fn is_exact(bytes: &[u8], frame: &Frame) -> bool {
    const SMOOTHED: usize = 10;
    let mut exact = vec![[false; SMOOTHED]; frame.ids.len()];
    for (_, segment) in markers(bytes).filter(|(marker, _)| *marker == START_OF_SCAN) {
        let [count, rest @ ..] = segment else { continue };
        let Some((components, [from, to, bits, ..])) =
            rest.split_at_checked(2 * usize::from(*count))
        else {
            continue;
        };
        for [id, _] in components.as_chunks::<2>().0 {
            let Some(at) = frame.ids.iter().position(|of| of == id) else { continue };
            let coefficients =
                exact[at].iter_mut().take(usize::from(*to) + 1).skip(usize::from(*from));
            coefficients.for_each(|is_exact| *is_exact = bits & 15 == 0);
        }
    }
    exact.iter().flatten().all(|is_exact| *is_exact)
}

/// The metadata that may contain an image's orientation.
pub struct Metadata<'a> {
    pub exif: Option<Cow<'a, [u8]>>,
    pub xmp: Option<&'a [u8]>,
}

/// Exif data and XMP packet before the first scan, found as PIL does: Exif segments are joined, and the
/// last XMP packet counts.
pub fn metadata(bytes: &[u8]) -> Result<Metadata<'_>> {
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut exif: Option<Cow<[u8]>> = None;
    let mut xmp = None;
    for (marker, segment) in markers(bytes).take_while(|(marker, _)| *marker != START_OF_SCAN) {
        if marker != APP1 {
            continue;
        }
        if let Some(part) = segment.strip_prefix(EXIF) {
            exif = Some(match exif {
                None => Cow::Borrowed(part),
                Some(whole) => {
                    let mut whole = whole.into_owned();
                    memory::reserve(&mut whole, part.len() as u64)?;
                    whole.extend_from_slice(part);
                    Cow::Owned(whole)
                }
            });
        } else if let Some(packet) = segment.strip_prefix(XMP) {
            xmp = Some(packet);
        }
    }
    Ok(Metadata { exif, xmp })
}
