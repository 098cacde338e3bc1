//! JPEG: sequential and progressive, Huffman and arithmetic coding; grey, YCbCr, RGB, CMYK and YCCK.
//!
//! The decoder is a port of libjpeg-turbo, which PIL uses, and yields its pixels byte for byte. It only
//! gets the kinds of frames it was made for; others are refused by their header.

mod markers;
mod planes;

use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::sniff::Format;
use super::{Orientation, RgbImage, check_header, corrupt, make_room, orientation, samples};
use super::{too_large, unsupported};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;
pub(super) use markers::Frame;
use markers::{Coding, Scans};
use planes::Stored;

/// A block of 8 x 8 samples takes at least one bit, so a byte holds at most this many pixels. A file that
/// claims more is truncated, and nothing of the claimed size is allocated.
const MAX_PIXELS_PER_BYTE: u64 = 8 * 64;
/// With arithmetic coding, an unchanging block takes as little as a hundredth of a bit.
const MAX_ARITHMETIC_PIXELS_PER_BYTE: u64 = 100 * MAX_PIXELS_PER_BYTE;

/// The standard's limit for scans of several components.
const MAX_BLOCKS_IN_UNIT: u32 = 10;

/// Decodes a JPEG.
pub(super) fn decode(bytes: &[u8], orientation: Orientation, limits: &Limits) -> Result<RgbImage> {
    let scans = markers::scans(bytes);
    if !scans.has_end && !is_padded(bytes, scans) {
        return Err(corrupt(Format::Jpeg, "it has no end-of-image marker"));
    }
    limits.check(Limit::JpegScans, scans.count)?;
    let frame = Frame::of(bytes).ok_or_else(|| corrupt(Format::Jpeg, "it has no frame header"))?;
    let (width, height) = (frame.width, frame.height);
    check_header(Format::Jpeg, width, height, limits)?;
    let most =
        if frame.is_arithmetic { MAX_ARITHMETIC_PIXELS_PER_BYTE } else { MAX_PIXELS_PER_BYTE };
    if u64::from(width) * u64::from(height) > bytes.len() as u64 * most {
        let what = format!("{} bytes cannot hold {width} x {height} pixels", bytes.len());
        return Err(corrupt(Format::Jpeg, what));
    }
    let samples = read(bytes, &frame, limits)?;
    let pixels = match frame.sampling.len() {
        1 => samples::grey(&samples, 1)?,
        4 => from_ink(samples),
        _ => samples,
    };
    let image = RgbImage { width, height, pixels };
    let markers::Metadata { exif, xmp } = markers::metadata(bytes)?;
    orientation::apply(image, orientation, exif.as_deref(), xmp)
}

/// Whether the file ends with zeros instead of the end-of-image marker. PIL then reads a file only if it
/// has one scan and that scan is complete.
fn is_padded(bytes: &[u8], scans: Scans) -> bool {
    scans.count == 1 && bytes.ends_with(&[0; 8])
}

/// The samples of a JPEG, interleaved: grey, RGB, or CMYK with 255 for no ink.
///
/// # Errors
/// `unsupported_image` for a kind of frame that is not supported; `corrupt_image`; `image_too_large`;
/// `low_memory`.
pub(super) fn read(bytes: &[u8], frame: &Frame, limits: &Limits) -> Result<Vec<u8>> {
    check_frame(frame)?;
    make_room(Format::Jpeg, &buffers(frame), limits)?;
    let renamed;
    let bytes = if frame.shares_names() {
        let refusal = "its components share names and have separate scans";
        renamed =
            markers::with_names(bytes, frame)?.ok_or_else(|| unsupported(Format::Jpeg, refusal))?;
        &renamed
    } else {
        bytes
    };
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let most_scans = usize::try_from(limits.get(Limit::JpegScans)).unwrap_or(usize::MAX);
    let of_decoder = DecodeLimits { max_scans: most_scans, ..DecodeLimits::default() };
    let mut decoder = Decoder::new_with_limits(bytes, of_decoder).map_err(from_decoder)?;
    let size = (u32::from(decoder.header().width), u32::from(decoder.header().height));
    if size != (frame.width, frame.height) {
        return Err(corrupt(Format::Jpeg, "it has two frame headers"));
    }
    if !is_put_together_alike(frame) {
        return from_planes(bytes, frame, decoder);
    }
    decoder.set_output_format(match frame.sampling.len() {
        1 => PixelFormat::Grayscale,
        4 => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    });
    let mut samples = memory::filled(pixels * frame.sampling.len() as u64, 0)?;
    decoder.decode_image_into(&mut samples).map_err(from_decoder)?;
    Ok(samples)
}

/// Whether the decoder upsamples such components like libjpeg-turbo.
fn is_put_together_alike(frame: &Frame) -> bool {
    let most = frame.largest_sampling();
    match &frame.sampling[..] {
        [luma, ..] if frame.sampling.len() <= 3 => *luma == most,
        inks => inks.iter().all(|ink| *ink == most),
    }
}

fn from_planes(bytes: &[u8], frame: &Frame, decoder: Decoder) -> Result<Vec<u8>> {
    // If the last scans are missing, libjpeg-turbo smooths the blocks, which the decoder's planes are not.
    if frame.coding == Coding::Progressive && !markers::is_exact(bytes, frame) {
        return Err(unsupported(Format::Jpeg, "its last scans are missing"));
    }
    let space = decoder.jpeg_color_space();
    let raw = decoder.decode_raw().map_err(from_decoder)?;
    let stored: Vec<Stored> = raw
        .planes
        .into_iter()
        .zip(raw.plane_widths)
        .map(|(samples, stride)| Stored { samples, stride })
        .collect();
    planes::put_together(&stored, frame, space)
}

/// Joins a TIFF strip's JPEG data with its tables, which are stored elsewhere, into a JPEG file. Its
/// colours are YCbCr, or stored as they are.
pub(super) fn with_tables(tables: &[u8], strip: &[u8], is_ycbcr: bool) -> Result<Vec<u8>> {
    // Adobe's marker: version, two fields of flags, and the colour transform.
    const ADOBE: [u8; 15] = *b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0";
    let body = strip.get(2..).unwrap_or_default();
    let tables = tables.strip_prefix(b"\xff\xd8").unwrap_or_default();
    let tables = tables.strip_suffix(b"\xff\xd9").unwrap_or(tables);
    let mut whole = memory::reserved((2 + ADOBE.len() + 1 + tables.len() + body.len()) as u64)?;
    whole.extend_from_slice(b"\xff\xd8");
    whole.extend_from_slice(&ADOBE);
    whole.push(u8::from(is_ycbcr));
    whole.extend_from_slice(tables);
    whole.extend_from_slice(body);
    Ok(whole)
}

/// Refuses frames that the decoder was not made for, because it does not always detect them itself.
fn check_frame(frame: &Frame) -> Result<()> {
    let refuse = |what: &str| Err(unsupported(Format::Jpeg, what));
    match frame.coding {
        Coding::Sequential | Coding::Progressive => {}
        Coding::Lossless => return refuse("its coding is lossless"),
        Coding::Hierarchical => return refuse("its coding is hierarchical"),
    }
    if frame.precision != 8 {
        return refuse(&format!("its samples have {} bits", frame.precision));
    }
    if !matches!(frame.sampling.len(), 1 | 3 | 4) {
        return refuse(&format!("it has {} components", frame.sampling.len()));
    }
    if frame
        .sampling
        .iter()
        .any(|(across, down)| !(1..=4).contains(across) || !(1..=4).contains(down))
    {
        return Err(corrupt(Format::Jpeg, "its sampling factors are not in 1..=4"));
    }
    let blocks: u32 = frame.sampling.iter().map(|(across, down)| u32::from(across * down)).sum();
    if frame.is_interleaved && frame.sampling.len() > 1 && blocks > MAX_BLOCKS_IN_UNIT {
        let what = format!("a unit of its scan has {blocks} blocks");
        return Err(corrupt(Format::Jpeg, what));
    }
    let most = frame.largest_sampling();
    let fits =
        frame.sampling.iter().all(|of| most.0.is_multiple_of(of.0) && most.1.is_multiple_of(of.1));
    if !fits {
        let what = format!("the sampling factors of its components are {:?}", frame.sampling);
        return refuse(&what);
    }
    Ok(())
}

/// Sizes in bytes of the buffers that the decoder holds at the same time: the image, the components as
/// stored and, if they are in several scans, all coefficients.
fn buffers(frame: &Frame) -> Vec<u64> {
    let (width, height) = (u64::from(frame.width), u64::from(frame.height));
    let (across, down) = frame.largest_sampling();
    let units = width.div_ceil(8 * u64::from(across)) * height.div_ceil(8 * u64::from(down));
    let mut buffers = vec![width * height * frame.sampling.len() as u64];
    for &(across, down) in &frame.sampling {
        let samples = 64 * units * u64::from(across) * u64::from(down);
        buffers.push(samples);
        if frame.coding == Coding::Progressive || !frame.is_interleaved {
            buffers.push(2 * samples);
        }
    }
    buffers
}

/// PIL treats every CMYK JPEG, marked or not, like Adobe's, which store 255 for no ink.
fn from_ink(mut samples: Vec<u8>) -> Vec<u8> {
    for pixel in samples.as_chunks_mut::<4>().0 {
        let [r, g, b] = samples::cmyk_to_rgb(pixel.map(|ink| 255 - ink));
        *pixel = [r, g, b, 0];
    }
    samples::first_three(samples)
}

fn from_decoder(error: JpegError) -> Error {
    match &error {
        JpegError::Unsupported(_) => unsupported(Format::Jpeg, &error),
        JpegError::LimitExceeded { .. } => too_large(Format::Jpeg),
        JpegError::AllocationFailed { bytes, .. } => {
            let message = format!("there is not enough memory ({bytes} bytes) to decode this JPEG image; close other pages or programs");
            Error::new(ErrorKind::LowMemory, message)
        }
        _ => corrupt(Format::Jpeg, &error),
    }
    .with_source(error)
}
