//! BMPs with every header, depth, palette, mask and run.

use super::{Files, picture};
use crate::support::pillow::Comparison;

/// A BMP with its file header, then its own header and what follows it.
fn bmp(header: &[u8], palette: &[u8], gap: usize, rows: &[u8]) -> Vec<u8> {
    let offset = 14 + header.len() + palette.len() + gap;
    let size = (offset + rows.len()) as u32;
    let head = [b"BM", &size.to_le_bytes()[..], &[0; 4], &(offset as u32).to_le_bytes()].concat();
    [&head[..], header, palette, &vec![0; gap], rows].concat()
}

fn bmp_header(
    size: u32,
    width: i32,
    height: i32,
    bits: u16,
    compression: u32,
    colours: u32,
    masks: &[u32],
) -> Vec<u8> {
    let mut header = size.to_le_bytes().to_vec();
    header.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    header.extend([1_u16.to_le_bytes(), bits.to_le_bytes()].concat());
    header.extend([compression, 0, 2835, 2835, colours, 0].map(u32::to_le_bytes).concat());
    header.extend(masks.iter().flat_map(|mask| mask.to_le_bytes()));
    header.resize(header.len().max(size as usize), 0);
    header
}

#[test]
fn bmps_of_every_depth_palette_and_mask() {
    let files = Files::new();
    let (width, height) = (13_i32, 9_i32);
    let noise = picture(64, 9, 1);
    let rows = |bits: usize| {
        let stride = (width as usize * bits).div_ceil(32) * 4;
        noise.iter().cycle().take(stride * height as usize).copied().collect::<Vec<u8>>()
    };
    for bits in [1_u16, 4, 8] {
        for colours in [0, 2, 5, 1 << bits] {
            let count = if colours == 0 { 1 << bits } else { colours as usize };
            if count > 1 << bits {
                continue;
            }
            let palette: Vec<u8> =
                (0..count).flat_map(|index| [index as u8 * 7, 255 - index as u8, 90, 0]).collect();
            for gap in [0, 6, 1000] {
                for height in [height, -height] {
                    let header = bmp_header(40, width, height, bits, 0, colours, &[]);
                    let label = format!("{bits} bits {colours} colours {gap} {height}.bmp");
                    files.add(&label, &bmp(&header, &palette, gap, &rows(bits.into())));
                }
            }
        }
    }
    let greys: Vec<u8> = (0..=255).flat_map(|level| [level, level, level, 0]).collect();
    files.add("greys.bmp", &bmp(&bmp_header(40, width, height, 8, 0, 0, &[]), &greys, 0, &rows(8)));
    let layouts: [(u16, [u32; 4]); 11] = [
        (32, [0xff_0000, 0xff00, 0xff, 0]),
        (32, [0xff00_0000, 0xff_0000, 0xff00, 0]),
        (32, [0xff00_0000, 0xff00, 0xff, 0]),
        (32, [0xff00_0000, 0xff_0000, 0xff00, 0xff]),
        (32, [0xff, 0xff00, 0xff_0000, 0xff00_0000]),
        (32, [0xff_0000, 0xff00, 0xff, 0xff00_0000]),
        (32, [0xff00_0000, 0xff00, 0xff, 0xff_0000]),
        (32, [0, 0, 0, 0]),
        (24, [0xff_0000, 0xff00, 0xff, 0]),
        (16, [0xf800, 0x7e0, 0x1f, 0]),
        (16, [0x7c00, 0x3e0, 0x1f, 0]),
    ];
    for (bits, masks) in layouts {
        for size in [40, 52, 56, 108, 124] {
            let masks = if size == 40 || size == 52 { &masks[..3] } else { &masks[..] };
            let header = bmp_header(size, width, height, bits, 3, 0, masks);
            let label = format!("masks {bits} {masks:x?} {size}.bmp");
            files.add(&label, &bmp(&header, &[], 0, &rows(bits.into())));
        }
    }
    for bits in [16, 24, 32] {
        let header = bmp_header(40, width, height, bits, 0, 0, &[]);
        files.add(&format!("plain {bits}.bmp"), &bmp(&header, &[], 0, &rows(bits.into())));
        files.add(&format!("bare {bits}.dib"), &[header, rows(bits.into())].concat());
        let mut cut =
            bmp(&bmp_header(40, width, height, bits, 0, 0, &[]), &[], 0, &rows(bits.into()));
        for less in 1..6 {
            cut.pop();
            files.add(&format!("{less} bytes less {bits}.bmp"), &cut);
        }
    }
    let core =
        [12_u32.to_le_bytes().to_vec(), [13_u16, 9, 1, 8].map(u16::to_le_bytes).concat()].concat();
    let palette: Vec<u8> =
        (0..=255).flat_map(|index: u8| [index, 255 - index, index / 2]).collect();
    files.add("core.bmp", &bmp(&core, &palette, 0, &rows(8)));
    // Orders of masks that Pillow does not know are read here.
    let equal = files.hold(|name, comparison| {
        name.starts_with("masks") && matches!(comparison, Comparison::Read(_))
    });
    assert!(equal >= 100, "only {equal}");
}

#[test]
fn bmps_of_runs_that_do_not_end_where_rows_do() {
    let files = Files::new();
    let (width, height) = (11, 7);
    let mut state = 7_u32;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for round in 0..300 {
        let rle4 = round % 2 == 0;
        let mut runs = Vec::new();
        for _ in 0..3 + next(20) {
            match next(8) {
                0..=2 => runs.extend([1 + next(15) as u8, next(256) as u8]),
                3 | 4 => {
                    let count = 3 + next(9) as usize;
                    let bytes = if rle4 { count.div_ceil(2) } else { count };
                    runs.extend([0, count as u8]);
                    runs.extend((0..bytes.next_multiple_of(2)).map(|_| next(256) as u8));
                }
                5 => runs.extend([0, 2, next(6) as u8, next(3) as u8]),
                _ => runs.extend([0, 0]),
            }
        }
        // Some runs skip to the last pixel, others end before it.
        if round % 3 != 0 {
            runs.extend([0, 2, 0, height as u8, 200, 0]);
        }
        runs.extend([0, 1]);
        let bits = if rle4 { 4 } else { 8 };
        let palette: Vec<u8> = (0..1_u32 << bits)
            .flat_map(|index| [index as u8 * 3, 255 - index as u8, 40, 0])
            .collect();
        let height = if round % 5 == 0 { -height } else { height };
        let header = bmp_header(40, width, height, bits, if rle4 { 2 } else { 1 }, 0, &[]);
        files.add(&format!("{round}.bmp"), &bmp(&header, &palette, 0, &runs));
    }
    // Pillow requires every pixel; here, pixels that no run reaches have index 0.
    let equal = files.hold(|_, comparison| matches!(comparison, Comparison::Read(reason) if reason.contains("not enough")));
    assert!(equal >= 100, "only {equal}");
}
