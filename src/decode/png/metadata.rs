//! Finds a PNG's orientation metadata.

use std::borrow::Cow;

use png::Info;

use super::chunks::chunks;

/// The most that a profile stored as text may inflate to.
const MAX_PROFILE_BYTES: usize = 1 << 20;

/// Exif data: from its own chunk, which may follow the image data, or as ImageMagick writes it, in
/// hexadecimal digits after three lines of text.
pub fn exif<'a>(bytes: &'a [u8], info: &Info) -> Option<Cow<'a, [u8]>> {
    if let Some(chunk) = chunks(bytes).find(|chunk| chunk.kind == *b"eXIf") {
        return Some(Cow::Borrowed(chunk.body));
    }
    let text = latin1_text(info, "Raw profile type exif")?;
    let digits: Vec<u8> = text
        .split('\n')
        .skip(3)
        .flat_map(str::bytes)
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    Some(Cow::Owned(digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect()))
}

/// An XMP packet, in any kind of text chunk: PIL only looks at the keyword. If there are several, the last
/// one counts.
pub fn xmp(bytes: &[u8], info: &Info) -> Option<Vec<u8>> {
    const NAME: &str = "XML:com.adobe.xmp";
    let has_name =
        |body: &[u8]| body.strip_prefix(NAME.as_bytes()).is_some_and(|rest| rest.starts_with(&[0]));
    let kinds = [*b"tEXt", *b"zTXt", *b"iTXt"];
    let packets = chunks(bytes).filter(|chunk| kinds.contains(&chunk.kind) && has_name(chunk.body));
    if packets.last()?.kind != *b"iTXt" {
        return latin1_text(info, NAME).map(String::into_bytes);
    }
    let mut chunk = info.utf8_text.iter().rfind(|chunk| chunk.keyword == NAME)?.clone();
    chunk.decompress_text_with_limit(MAX_PROFILE_BYTES).ok()?;
    chunk.get_text().ok().map(String::into_bytes)
}

/// The last text with that keyword.
fn latin1_text(info: &Info, keyword: &str) -> Option<String> {
    let plain = info.uncompressed_latin1_text.iter().rfind(|chunk| chunk.keyword == keyword);
    if let Some(plain) = plain {
        return Some(plain.text.clone());
    }
    let compressed = info.compressed_latin1_text.iter().rfind(|chunk| chunk.keyword == keyword);
    let mut chunk = compressed?.clone();
    chunk.decompress_text_with_limit(MAX_PROFILE_BYTES).ok()?;
    chunk.get_text().ok()
}
