//! Lays pictures out in a grid as one PNG, for people to look at. Each tile has room for a bar in the colour of its
//! class; what the pictures mean is not known here.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use super::Picture;

/// One picture of a contact sheet.
#[derive(Debug, Clone)]
pub struct Tile {
    /// What to show.
    pub picture: Picture,
    /// Its class, shown as a coloured bar below; `None` shows none.
    pub label: Option<u8>,
}

/// Pixels between tiles and around them.
const GAP: u32 = 4;

/// The height of the bar in the colour of the class.
const BAR: u32 = 3;

const BACKGROUND: Rgb<u8> = Rgb([32, 32, 36]);

/// Ten colours that are easy to tell apart (the "tab10" palette of matplotlib).
const CLASS_COLORS: [Rgb<u8>; 10] = [
    Rgb([31, 119, 180]),
    Rgb([255, 127, 14]),
    Rgb([44, 160, 44]),
    Rgb([214, 39, 40]),
    Rgb([148, 103, 189]),
    Rgb([140, 86, 75]),
    Rgb([227, 119, 194]),
    Rgb([127, 127, 127]),
    Rgb([188, 189, 34]),
    Rgb([23, 190, 207]),
];

/// The bytes of a PNG that shows the tiles row by row, so many in a row.
///
/// # Panics
/// If `columns` is 0.
#[must_use]
pub fn contact_sheet(tiles: &[Tile], columns: usize) -> Vec<u8> {
    assert!(columns > 0, "a sheet has columns");
    let columns = columns.min(tiles.len()).max(1);
    let rows = tiles.len().div_ceil(columns).max(1);
    let largest =
        |side: fn(&Picture) -> usize| tiles.iter().map(|t| side(&t.picture)).max().unwrap_or(1) as u32;
    let (cell_height, cell_width) = (largest(Picture::height) + BAR + GAP, largest(Picture::width) + GAP);
    let size = (columns as u32 * cell_width + GAP, rows as u32 * cell_height + GAP);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, BACKGROUND);
    for (place, tile) in tiles.iter().enumerate() {
        let left = (place % columns) as u32 * cell_width + GAP;
        let top = (place / columns) as u32 * cell_height + GAP;
        paint(&mut sheet, tile, left, top);
    }
    let mut png = Cursor::new(Vec::new());
    sheet.write_to(&mut png, ImageFormat::Png).expect("a PNG of whole pixels can be written to memory");
    png.into_inner()
}

fn paint(sheet: &mut RgbImage, tile: &Tile, left: u32, top: u32) {
    let (height, width) = (tile.picture.height(), tile.picture.width());
    let pixels = tile.picture.pixels();
    for y in 0..height {
        for x in 0..width {
            let color = [0, 1, 2].map(|channel| pixels[(channel * height + y) * width + x]);
            sheet.put_pixel(left + x as u32, top + y as u32, Rgb(color));
        }
    }
    if let Some(label) = tile.label {
        let color = CLASS_COLORS[usize::from(label) % CLASS_COLORS.len()];
        for y in 0..BAR {
            for x in 0..width as u32 {
                sheet.put_pixel(left + x, top + height as u32 + y, color);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_in_rows_with_their_class_below() {
        let tile = |value, label| Tile { picture: Picture::new(&[value; 12], 2, 2), label };
        let png = contact_sheet(&[tile(10, Some(1)), tile(20, None), tile(30, Some(0))], 2);
        let sheet = image::load_from_memory(&png).expect("a PNG").to_rgb8();
        assert_eq!(sheet.dimensions(), (4 + 2 * 6, 4 + 2 * 9));
        assert_eq!(*sheet.get_pixel(4, 4), Rgb([10; 3]));
        assert_eq!(*sheet.get_pixel(4, 6), CLASS_COLORS[1]);
        assert_eq!(*sheet.get_pixel(10, 5), Rgb([20; 3]));
        assert_eq!(*sheet.get_pixel(10, 6), BACKGROUND);
        assert_eq!(*sheet.get_pixel(5, 13), Rgb([30; 3]));
    }

    #[test]
    fn no_tiles_give_an_empty_sheet() {
        assert!(image::load_from_memory(&contact_sheet(&[], 4)).is_ok());
    }
}
