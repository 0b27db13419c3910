//! One image in memory while transforms change it. It knows its size and its pixels, not its label.

/// An image of three planes: red, green, blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    height: usize,
    width: usize,
    pixels: Vec<u8>, // (3, height, width)
    /// The buffer that the next change of size writes to, kept so that a chain of transforms does not allocate.
    spare: Vec<u8>,
}

impl Picture {
    /// Copies an image. // (3, height, width)
    ///
    /// # Panics
    /// If the number of pixels does not fit the size.
    #[must_use]
    pub fn new(pixels: &[u8], height: usize, width: usize) -> Picture {
        assert_eq!(pixels.len(), 3 * height * width, "three planes of {height} by {width}");
        Picture { height, width, pixels: pixels.to_vec(), spare: Vec::new() }
    }

    /// Its height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Its width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// All pixels. // (3, height, width)
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(super) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The red, green and blue planes.
    pub(super) fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (red, rest) = self.pixels.split_at_mut(self.height * self.width);
        let (green, blue) = rest.split_at_mut(self.height * self.width);
        [red, green, blue]
    }

    /// Replaces the pixels by what `draw` makes of the old ones; the new ones are black before it starts.
    pub(super) fn redraw(&mut self, height: usize, width: usize, draw: impl FnOnce(&[u8], &mut [u8])) {
        self.spare.clear();
        self.spare.resize(3 * height * width, 0);
        draw(&self.pixels, &mut self.spare);
        std::mem::swap(&mut self.pixels, &mut self.spare);
        (self.height, self.width) = (height, width);
    }
}
